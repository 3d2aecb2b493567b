//! The limit of the operating system on open files.

/// Raises the soft limit of open files of this process to its hard limit.
///
/// Systems keep the soft limit low for programs that call `select`, which this one does not. Does nothing where there
/// is no such limit, as on Windows.
///
/// # Errors
///
/// If the system refuses. The limit is then unchanged.
pub fn raise_limit() -> std::io::Result<()> {
    #[cfg(unix)]
    rlimit::increase_nofile_limit(u64::MAX)?;
    Ok(())
}

/// How many files this process may have open at a time. `None` where there is no such limit.
pub(crate) fn limit() -> Option<u64> {
    #[cfg(unix)]
    return rlimit::Resource::NOFILE.get_soft().ok();
    #[cfg(not(unix))]
    None
}

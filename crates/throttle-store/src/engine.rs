//! What is particular to redb: how a file is opened, and what its errors mean to an operator.

use std::{
    any::Any,
    fmt::Display,
    fs::Metadata,
    io::ErrorKind,
    ops::Bound::Unbounded,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend, StorageError};
use throttle_runtime::StoreError;

/// How much memory an open store uses at most for pages of its file, besides those of a batch that is being written.
pub const CACHE_BYTES: usize = 16 << 20;

/// Opens the database in `backend`, and makes one there if it is empty.
///
/// This compares the checksums of all pages, not only after a crash: a store that was damaged while nobody had it
/// open must not be taken for the truth. redb promises an error then; a panic of it counts as one, too.
pub(crate) fn open(name: &str, backend: impl StorageBackend) -> Result<Database, StoreError> {
    guarded(name, || {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        builder.create_with_backend(backend).map_err(|error| opening(name, error))
    })
}

/// Refuses a file that cannot be locked: redb would open it nevertheless, and so would a second server.
///
/// A process that was killed a moment ago may still have its lock, so this waits a second for it.
pub(crate) fn require_locks(name: &str, backend: &impl StorageBackend) -> Result<(), StoreError> {
    for _ in 0..LOCK_ATTEMPTS {
        match backend.try_lock_range(Unbounded, Unbounded) {
            Ok(true) => {
                return backend
                    .unlock_range(Unbounded, Unbounded)
                    .map_err(|error| failed(name, "cannot be unlocked", error));
            }
            Ok(false) => pause(),
            Err(BackendError::Unsupported) => {
                return Err(StoreError::new(format!(
                    "{name} is on a file system without locks, where nothing stops a second server: give a path \
                     on another one"
                )));
            }
            Err(error) => return Err(failed(name, "cannot be locked", error)),
        }
    }
    // Somebody else has locked it: the next attempt says so.
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "opening a store blocks; nobody is told when a lock is released"
)]
fn pause() {
    std::thread::sleep(LOCK_INTERVAL);
}

/// How long the lock of a process that was killed may last: a second in all.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);
const LOCK_ATTEMPTS: u32 = 50;

/// Runs `read`. A panic in it is an error that says that the file is damaged.
pub(crate) fn guarded<T>(
    name: &str,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        Err(damaged(name, &format!("reading it failed: {}", text(&*panic))))
    })
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let string = panic.downcast_ref::<String>().map(String::as_str);
    string.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

/// Why a file could not be opened.
fn opening(name: &str, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::new(format!(
                "{name} is in use by another process, and only one server may write to a store: stop the other \
                 one, or give this one a path of its own"
            ))
        }
        DatabaseError::UpgradeRequired(version) => StoreError::new(format!(
            "{name} has version {version} of redb's file format, which this version of Throttle does not read: \
             export it with the version that wrote it, and import that"
        )),
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() == ErrorKind::InvalidData =>
        {
            StoreError::new(format!(
                "{name} is not a store of Throttle ({error}): give another path, or move the file away"
            ))
        }
        other => failed(name, "cannot be opened", other),
    }
}

/// Why a file could not be read or written.
pub(crate) fn failed(name: &str, what: &str, error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            damaged(name, &format!("it ends too early: {error}"))
        }
        redb::Error::Io(error) if is_full(&error) => StoreError::new(format!(
            "{}; the file keeps all that was acknowledged",
            io(name, what, &error)
        )),
        redb::Error::Io(error) => io(name, what, &error),
        redb::Error::Corrupted(reason) => damaged(name, &reason),
        error @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }) => damaged(name, &error),
        other => StoreError::new(format!("{name} {what}: {other}")),
    }
}

/// Why the operating system refused.
pub(crate) fn io(name: &str, what: &str, error: &std::io::Error) -> StoreError {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => {
            ": let the user of the server read and write it and its directory"
        }
        ErrorKind::NotFound => ": make its directory, or correct the path",
        _ if is_full(error) => ": make room on that disk",
        ErrorKind::ReadOnlyFilesystem => ": give a path on a file system that can be written",
        ErrorKind::IsADirectory => ": give the path of a file in it",
        _ => "",
    };
    StoreError::new(format!("{name} {what}: {error}{advice}"))
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Refuses a device, a pipe or a socket: it keeps nothing, and reading it may never end. That a directory is no file
/// is noticed where it is read.
pub(crate) fn require_regular(name: &str, metadata: &Metadata) -> Result<(), StoreError> {
    if metadata.is_file() || metadata.is_dir() {
        return Ok(());
    }
    Err(StoreError::new(format!("{name} is not a regular file: give the path of one, or of none")))
}

/// The file does not contain what was written to it.
pub(crate) fn damaged(name: &str, reason: &(impl Display + ?Sized)) -> StoreError {
    StoreError::new(format!(
        "{name} is damaged: {reason}. Keep a copy and look at it with `throttle store verify`; then restore a \
         backup, or move the file away to start with a new one, and with a grace period"
    ))
}

/// How a file is called in messages.
pub(crate) fn name(path: &Path) -> String {
    format!("the store {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::LyingDisk;

    /// D8
    #[test]
    fn a_file_that_cannot_be_locked_is_refused() {
        let error = require_locks("it", &LyingDisk::default()).unwrap_err();
        assert!(error.to_string().starts_with("it is on a file system without locks"), "{error}");
    }

    #[test]
    fn a_panic_of_the_engine_is_damage_of_its_file() {
        let error = guarded::<()>("it", || panic!("page {} is odd", 7)).unwrap_err();
        assert!(error.to_string().starts_with("it is damaged: reading it failed: page 7 is odd."));
    }
}

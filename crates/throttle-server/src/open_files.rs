//! How many files the process may have open, and how many connections that leaves room for.
//!
//! Each connection is an open file. What the operating system allows decides how many there may be,
//! unless the configuration asks for fewer.

use crate::listen::Capacity;

/// Raises the soft limit of open files of this process to its hard limit, as far as the system lets it.
///
/// Systems keep the soft limit low for the sake of programs that call `select`, which this is not.
/// Does nothing where there is no such limit, as on Windows.
///
/// # Errors
///
/// If the system refuses; then the limit is what it was.
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

impl Capacity {
    /// As many connections as are asked for, or as many as usual, but no more than `open_files` has
    /// room for.
    pub(crate) fn new(connections: Option<u32>, open_files: Option<u64>) -> Self {
        let wanted = connections.unwrap_or(USUAL) as usize;
        let Some(open_files) = open_files else {
            return Self { connections: wanted, slack: SLACK };
        };
        let room = usize::try_from(open_files.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
        let most = room.saturating_sub(SLACK.min(room / 4)).max(1);
        let connections = wanted.min(most);
        Self { connections, slack: SLACK.min(room.saturating_sub(connections)) }
    }
}

/// How many connections there may be unless the configuration says otherwise. A waiting request costs
/// about 15 kB, so these cost 150 MB if all of them wait.
const USUAL: u32 = 10_000;
/// How many more connections there may be for a moment. If a crowd of waiters stands in line to be accepted,
/// somebody who does not wait stands behind them, and passes the faster the more of them are let in at a
/// time. So few connections need as much slack as many.
const SLACK: usize = 1_024;
/// How many open files are left to everything else: the configuration, logging, the runtime.
const RESERVED: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(connections: Option<u32>, open_files: Option<u64>) -> (usize, usize) {
        let Capacity { connections, slack } = Capacity::new(connections, open_files);
        (connections, slack)
    }

    #[test]
    fn the_number_of_connections_follows_from_the_limit_of_open_files() {
        assert_eq!(capacity(None, Some(1_048_576)), (10_000, 1_024));
        assert_eq!(capacity(None, Some(u64::MAX)), (10_000, 1_024));
        assert_eq!(capacity(None, None), (10_000, 1_024));
        assert_eq!(capacity(None, Some(1_024)), (720, 240));
        assert_eq!(capacity(Some(500), Some(1_024)), (500, 460));
        assert_eq!(capacity(Some(50_000), Some(1_024)), (720, 240));
        assert_eq!(capacity(Some(50_000), Some(1_048_576)), (50_000, 1_024));
        assert_eq!(capacity(Some(50_000), None), (50_000, 1_024));
        assert_eq!(capacity(Some(3), None), (3, 1_024));
        assert_eq!(capacity(None, Some(100)), (27, 9));
    }

    #[test]
    fn connections_and_slack_fit_into_the_limit_of_open_files() {
        for open_files in (0..20_000_u32).step_by(7) {
            let (connections, slack) = capacity(Some(u32::MAX), Some(open_files.into()));
            assert!(connections > 0);
            assert!(open_files < 100 || connections + slack + 64 <= open_files as usize);
        }
    }
}

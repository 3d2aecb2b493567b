//! How many connections there may be.
//!
//! Each connection is an open file, so the operating system limits their number unless the configuration allows
//! fewer.

/// How many connections there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Capacity {
    /// The most connections that stay open.
    pub(crate) connections: usize,
    /// How many more there may be for a moment: new ones for which no other could be closed at once.
    pub(crate) slack: usize,
}

impl Capacity {
    /// The configured or default number of connections, but no more than the limit of open files allows.
    pub(crate) fn new(connections: Option<u32>, open_files: Option<u64>) -> Self {
        let wanted = connections.unwrap_or(DEFAULT_CONNECTIONS) as usize;
        let Some(open_files) = open_files else {
            return Self { connections: wanted, slack: SLACK };
        };
        let room = usize::try_from(open_files.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
        let most = room.saturating_sub(SLACK.min(room / 4)).max(1);
        let connections = wanted.min(most);
        Self { connections, slack: SLACK.min(room.saturating_sub(connections)) }
    }
}

/// How many connections there may be by default. A waiting request takes about 15 kB, so these take 150 MB if all
/// of them wait.
const DEFAULT_CONNECTIONS: u32 = 10_000;
/// How many more connections there may be for a moment. If many connections of waiters are in the backlog, one of a
/// holder comes behind them, and the more of them are accepted at a time, the sooner its turn comes. So a small limit
/// needs as much slack as a large one.
const SLACK: usize = 1_024;
/// How many open files are left for everything else: the configuration, logging, the runtime.
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

//! The command line of `throttlectl lock`.

use std::{ffi::OsString, time::Duration};

use clap::Args;

/// `throttlectl lock`
#[derive(Args, Debug)]
pub(crate) struct Lock {
    /// The semaphore
    pub(crate) name: String,
    /// How much of it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,
    /// Give up after this time; without it, wait as long as it takes
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// Give up at once if it is not free
    #[arg(long, conflicts_with = "wait")]
    pub(crate) nonblocking: bool,
    /// How long others have to wait if this machine dies, and how long the server may be away
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = lease)]
    pub(crate) lease: Duration,
    /// How long before the lease ends the command is told to end (TERM) when no sign of life gets
    /// through, and how long it has for that in every case before it is killed. Default: a tenth of
    /// the lease, but no more than ten seconds
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) grace: Option<Duration>,
    /// What the server tells about the peer; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// The command, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl Lock {
    pub(crate) fn grace(&self) -> Duration {
        let default = (self.lease / 10).min(Duration::from_secs(10));
        self.grace.unwrap_or(default).min(self.lease / 2)
    }
}

/// What becomes a command that does not outlive its parent.
#[derive(Args, Debug)]
pub(crate) struct Bond {
    /// The parent
    pub(crate) parent: u32,
    /// Take the terminal
    #[arg(long)]
    pub(crate) terminal: bool,
    /// The command, and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

fn lease(text: &str) -> Result<Duration, String> {
    let lease = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if lease < SHORTEST_LEASE { Err("a second at least".to_owned()) } else { Ok(lease) }
}

/// Below it there is no time left to end a command.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is `name=value`")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Arguments, Verb};

    #[test]
    fn grace_is_a_tenth_of_the_lease_and_never_more_than_half_of_it() {
        for (flags, expected) in [
            (vec![], 6_000),
            (vec!["--lease", "1h"], 10_000),
            (vec!["--grace", "1s"], 1_000),
            (vec!["--lease", "2s", "--grace", "5s"], 1_000),
        ] {
            let line = ["throttlectl", "lock", "A"].into_iter().chain(flags).chain(["--", "true"]);
            let Verb::Lock(lock) = Arguments::parse_from(line).verb else { panic!("it is lock") };
            assert_eq!(lock.grace(), Duration::from_millis(expected));
        }
    }
}

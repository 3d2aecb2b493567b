//! The command line of `throttlectl lock`.

use std::{ffi::OsString, time::Duration};

use anyhow::{anyhow, bail};
use clap::Args;
use humantime::format_duration;

use crate::exit_status::{ExitStatus, Failure};

/// `throttlectl lock`
#[derive(Args, Debug)]
pub(crate) struct Lock {
    /// The semaphores, each with how much of it: `B:2` is two of B, `B` is one
    #[arg(required = true, value_name = "NAME[:COUNT]")]
    names: Vec<String>,
    /// How much of it, if there is one semaphore; its name may then end like `:2`
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Give up after this time, such as 30s or 10m; without it, wait as long as it takes
    #[arg(long, short, value_name = "TIME", value_parser = parse_time)]
    pub(crate) wait: Option<Duration>,
    /// Give up at once if it is not free
    #[arg(long, short, conflicts_with = "wait")]
    pub(crate) nonblocking: bool,
    /// Exit status if the lock is not free, or not in time, instead of 75
    #[arg(long, short = 'E', value_name = "STATUS")]
    pub(crate) conflict_exit_code: Option<u8>,
    /// How long the lock lives without a heartbeat: so long others wait if this machine dies, and so
    /// long the server may be away
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_lease)]
    pub(crate) lease: Duration,
    /// How long the command has between TERM and KILL when the lock is lost; if the server does not
    /// answer, TERM comes this long before the lease ends. At most half of the lease. Default: a tenth
    /// of it, but no more than ten seconds
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    grace: Option<Duration>,
    /// Keep the lock for this long at least, even if the command ends sooner. With --nonblocking, a
    /// job that several machines start at nearly the same time then runs once
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) hold_at_least: Option<Duration>,
    /// Label that lists of holders and waiters show; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label)]
    pub(crate) label: Vec<(String, String)>,
    /// Do not send the host, user, process and command as labels
    #[arg(long)]
    pub(crate) no_default_labels: bool,
    /// The command and its arguments. Without one, the lock is held until standard input ends
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// A requested lock: the name of the semaphore, and the count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LockRequest {
    pub(crate) semaphore: String,
    pub(crate) count: u64,
}

impl Lock {
    /// Whether the names of semaphores may be a command without `--` before it.
    pub(crate) fn may_lack_dashes(&self) -> bool {
        self.command.is_empty() && self.names.len() > 1
    }

    /// The requested locks, in the order of the command line.
    ///
    /// # Errors
    ///
    /// [`ExitStatus::USAGE`] if they make no sense together.
    pub(crate) fn lock_requests(&self) -> Result<Vec<LockRequest>, Failure> {
        let usage = |error| Failure::new(ExitStatus::USAGE, error);
        if let Some(count) = self.count {
            let [name] = &*self.names else {
                return Err(usage(anyhow!("--count is for a single semaphore; write NAME:COUNT")));
            };
            return Ok(vec![LockRequest { semaphore: name.clone(), count }]);
        }
        let mut all = Vec::<LockRequest>::new();
        for text in &self.names {
            let request = parse_lock_request(text).map_err(usage)?;
            if all.iter().any(|it| it.semaphore == request.semaphore) {
                return Err(usage(anyhow!("{:?} is named twice", request.semaphore)));
            }
            all.push(request);
        }
        Ok(all)
    }

    /// How long the command has between TERM and KILL.
    ///
    /// # Errors
    ///
    /// [`ExitStatus::USAGE`] if it is more than half of the lease.
    pub(crate) fn grace(&self) -> Result<Duration, Failure> {
        let longest = self.lease / 2;
        match self.grace {
            None => Ok((self.lease / 10).min(Duration::from_secs(10))),
            Some(grace) if grace <= longest => Ok(grace),
            Some(grace) => {
                let (grace, longest) = (format_duration(grace), format_duration(longest));
                let error = anyhow!("a grace of {grace} is more than half of the lease, {longest}");
                Err(Failure::new(ExitStatus::USAGE, error))
            }
        }
    }
}

/// Parses `NAME` or `NAME:COUNT`. Only digits after the last colon are a count.
///
/// # Errors
///
/// If the digits are missing, zero or too large.
pub(crate) fn parse_lock_request(text: &str) -> anyhow::Result<LockRequest> {
    let digits = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
    let Some((name, count)) = text.rsplit_once(':').filter(|(_, count)| digits(count)) else {
        return Ok(LockRequest { semaphore: text.to_owned(), count: 1 });
    };
    match count.parse() {
        Ok(count @ 1..) => Ok(LockRequest { semaphore: name.to_owned(), count }),
        _ => bail!(
            "{text:?}: a count is a whole number from 1 on; if {count:?} belongs to the name, add --count 1"
        ),
    }
}

/// `throttlectl __die-with-parent`, the hidden helper
#[derive(Args, Debug)]
pub(crate) struct DieWithParent {
    /// The parent
    pub(crate) parent: u32,
    /// Take the terminal
    #[arg(long)]
    pub(crate) terminal: bool,
    /// The command, and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// Parses a time with units, such as `1h 30m`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    throttle_wire::parse_duration(text).map_err(|error| error.to_string())
}

fn parse_lease(text: &str) -> Result<Duration, String> {
    let lease = parse_time(text)?;
    if lease < MIN_LEASE { Err("a second at least".to_owned()) } else { Ok(lease) }
}

/// A shorter lease leaves no time to end a command.
const MIN_LEASE: Duration = Duration::from_secs(1);

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Arguments, Verb};

    fn parse(words: &[&str]) -> Lock {
        let line = ["throttlectl", "lock"].iter().chain(words).chain(&["--", "true"]);
        let Verb::Lock(lock) = Arguments::parse_from(line).verb else { panic!("it is lock") };
        lock
    }

    #[test]
    fn grace_is_a_tenth_of_the_lease_and_never_more_than_half_of_it() {
        for (flags, expected) in [
            (&["A"][..], Some(6_000)),
            (&["A", "--lease", "1h"], Some(10_000)),
            (&["A", "--grace", "1s"], Some(1_000)),
            (&["A", "--lease", "2s", "--grace", "1s"], Some(1_000)),
            (&["A", "--lease", "2s", "--grace", "5s"], None),
        ] {
            let grace = parse(flags).grace().ok();
            assert_eq!(grace, expected.map(Duration::from_millis), "{flags:?}");
        }
    }

    #[test]
    fn a_count_follows_the_last_colon_and_any_name_can_be_asked_for() {
        for (words, expected) in [
            (&["A"][..], Some(vec![("A", 1)])),
            (&["A:2", "B"], Some(vec![("A", 2), ("B", 1)])),
            (&["db:prod"], Some(vec![("db:prod", 1)])),
            (&["db:5432:1"], Some(vec![("db:5432", 1)])),
            (&["db:5432", "--count", "3"], Some(vec![("db:5432", 3)])),
            (&["A:"], None),
            (&["A::1"], Some(vec![("A:", 1)])),
            (&["A:0"], None),
            (&["A:99999999999999999999"], None),
            (&["A", "A:2"], None),
            (&["A", "B", "--count", "2"], None),
        ] {
            let requests = parse(words).lock_requests().ok();
            let names = expected.map(|all| {
                let all = all.into_iter();
                let own =
                    all.map(|(name, count)| LockRequest { semaphore: name.to_owned(), count });
                own.collect::<Vec<_>>()
            });
            assert_eq!(requests, names, "{words:?}");
        }
    }
}

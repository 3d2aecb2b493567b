//! The command line.

use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{
    help_text,
    lock::args::{DieWithParent, Lock, LockRequest, parse_lock_request, parse_time},
    server_args::ServerArgs,
};

/// Runs commands under a lock of Throttle, and shows who holds what.
#[derive(Debug, Parser)]
#[command(name = "throttlectl", version, after_long_help = help_text::after_help(), max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Log on standard error what the client does: attempts, heartbeats, losses; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 100)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command under a lock
    Lock(Lock),
    /// Whether the server answers and accepts work, with its version and numbers
    Status {
        #[command(flatten)]
        options: OutputOptions,
    },
    /// All semaphores in numbers
    Semaphores {
        #[command(flatten)]
        options: OutputOptions,
    },
    /// One semaphore: who holds it, and who waits
    Semaphore {
        /// Name of the semaphore
        name: String,
        #[command(flatten)]
        options: OutputOptions,
    },
    /// All peers, with what they hold and wait for
    Peers {
        #[command(flatten)]
        options: OutputOptions,
    },
    /// Whether locks would be granted at once, without asking for them
    ///
    /// Ends with 0 if all of them would, and with 75 if not.
    Available {
        /// The semaphores, each with how much of it: `B:2` is two of B, `B` is one
        #[arg(required = true, value_name = "NAME[:COUNT]", value_parser = parse_lock_request)]
        semaphores: Vec<LockRequest>,
    },
    /// Whether the lock with a fencing token is held at this moment, and by whom
    ///
    /// For scripts that protect something against late writers. Ends with 76 if it is not held.
    Check {
        /// Name of the semaphore
        name: String,
        /// The fencing token, as in THROTTLE_FENCING_TOKEN
        #[arg(value_name = "TOKEN", value_parser = parse_fencing_token)]
        fencing_token: u64,
        #[command(flatten)]
        options: OutputOptions,
    },
    /// Whether the server is healthy and accepts work
    ///
    /// Ends with 69 if not, or if it cannot be reached at the first attempt.
    Health {
        /// Ask only whether the server is alive; it may be shutting down
        #[arg(long)]
        live: bool,
    },
    /// All metrics of the server, in the text format of Prometheus
    Metrics,
    /// Make the server read its configuration again, and print what has changed
    Reload {
        #[command(flatten)]
        options: OutputOptions,
    },
    /// Remove a peer with all its locks, held and pending
    ///
    /// Ends with 67 if there is no such peer.
    RemovePeer {
        /// Id of the peer, as `throttlectl peers` shows it
        #[arg(value_parser = parse_id)]
        id: u64,
    },
    /// All semaphores in a table that stays up to date, until Ctrl+C
    Watch {
        /// Time between two updates
        #[arg(short = 'n', long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
        interval: Duration,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, to be read with `man -l -`
    Man,
    /// Ends with its parent, then becomes a command
    #[command(name = "__die-with-parent", hide = true)]
    DieWithParent(DieWithParent),
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct OutputOptions {
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// The answer of the server
    Json,
    /// For people
    Table,
}

/// The interval of `watch`. A minimum keeps the requests from following each other without a pause.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_time(text)?;
    if interval < MIN_INTERVAL { Err("100ms at least".to_owned()) } else { Ok(interval) }
}

fn parse_fencing_token(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a fencing token is a whole number")
}

fn parse_id(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "the id of a peer is a whole number")
}

const MIN_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}

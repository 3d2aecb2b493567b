//! The command line.

use std::{
    ffi::{OsStr, OsString},
    fmt, fs,
    time::Duration,
};

use anyhow::anyhow;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use throttle_client::{Client, ClientBuilder};

use crate::{
    exit::{Code, Failure},
    lock::args::{Bond, Lock, Wanted, time, wanted},
    manual,
};

/// Runs commands under a lock of Throttle, and shows who holds what.
#[derive(Debug, Parser)]
#[command(name = "throttlectl", version, after_long_help = manual::after_help(), max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Tell on standard error what the client does: attempts, heartbeats, losses; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 100)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where the server is.
#[derive(Args, Debug)]
pub(crate) struct Server {
    /// URL of the server, or `unix:` and the path of its socket; several with commas between them, if
    /// the server has several addresses
    #[arg(
        long,
        global = true,
        help_heading = SERVER,
        env = "THROTTLE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8000",
        value_delimiter = ','
    )]
    url: Vec<String>,
    /// Header for every request, as 'Name: value'; may be given several times
    #[arg(long, global = true, help_heading = SERVER, value_name = "HEADER")]
    header: Vec<String>,
    /// Bearer token for a proxy that wants one; better in the environment than on the command line
    #[arg(long, global = true, help_heading = SERVER, env = "THROTTLE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File with certificates (PEM) of authorities to trust besides those of the system
    #[arg(long, global = true, help_heading = SERVER, env = "THROTTLE_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    ca: Option<OsString>,
    /// File with a certificate and its private key (PEM), for a server or proxy that asks for one
    #[arg(
        long,
        global = true,
        help_heading = SERVER,
        env = "THROTTLE_CLIENT_CERT",
        value_name = "FILE",
        value_hint = ValueHint::FilePath
    )]
    client_cert: Option<OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command under a lock
    Lock(Lock),
    /// Whether the server answers and takes on work, with its version and numbers
    Status {
        #[command(flatten)]
        form: Form,
    },
    /// All semaphores in numbers
    Semaphores {
        #[command(flatten)]
        form: Form,
    },
    /// One semaphore: who holds it, and who waits
    Semaphore {
        /// Name of the semaphore
        name: String,
        #[command(flatten)]
        form: Form,
    },
    /// All peers, with what they hold and wait for
    Peers {
        #[command(flatten)]
        form: Form,
    },
    /// Whether locks would be granted at once, without asking for them
    ///
    /// Ends with 0 if all of them would, and with 75 if not.
    Check {
        /// The semaphores, each with how much of it: `B:2` is two of B, `B` is one
        #[arg(required = true, value_name = "NAME[:COUNT]", value_parser = wanted)]
        semaphores: Vec<Wanted>,
    },
    /// Whether the server is healthy and takes on work
    ///
    /// Ends with 69 if not, or if it cannot be reached at the first attempt.
    Health {
        /// Ask only whether the server is alive; it may be shutting down
        #[arg(long)]
        live: bool,
    },
    /// All metrics of the server, in the text format of Prometheus
    Metrics,
    /// Let the server read its configuration again, and tell what has changed
    Reload {
        #[command(flatten)]
        form: Form,
    },
    /// Remove a peer with all its locks, held and pending
    ///
    /// Ends with 67 if there is no such peer.
    RemovePeer {
        /// Id of the peer, as `throttlectl peers` shows it
        #[arg(value_parser = id)]
        id: u64,
    },
    /// All semaphores in a table that stays up to date, until Ctrl+C
    Watch {
        /// Time between two looks
        #[arg(short = 'n', long, value_name = "TIME", default_value = "1s", value_parser = interval)]
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
    #[command(name = "__bond", hide = true)]
    Bond(Bond),
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Form {
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Output {
    /// As the server says it
    Json,
    /// For people
    Table,
}

impl Server {
    /// What a client of this server is built from.
    pub(crate) fn client(&self) -> Result<ClientBuilder, Failure> {
        let (first, others) = self.url.split_first().ok_or_else(|| usage("there is no URL"))?;
        let mut client = Client::builder(first);
        for url in others {
            client = client.or_url(url);
        }
        // A variable that is there but empty is as good as none.
        if let Some(token) = self.token.as_ref().filter(|it| !it.is_empty()) {
            client = client.bearer_token(token);
        }
        for header in &self.header {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| usage(format!("{header:?} is no header: it is 'Name: value'")))?;
            client = client.header(name.trim(), value.trim());
        }
        if let Some(file) = self.ca.as_ref().filter(|it| !it.is_empty()) {
            client = client.ca_certificates(read(file)?);
        }
        if let Some(file) = self.client_cert.as_ref().filter(|it| !it.is_empty()) {
            client = client.client_certificate(read(file)?);
        }
        Ok(client)
    }
}

fn usage(message: impl fmt::Display) -> Failure {
    Failure::new(Code::USAGE, anyhow!("{message}"))
}

fn read(file: &OsStr) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| usage(format!("cannot read {}: {error}", file.display())))
}

/// How often to look, which no server may be asked without a pause.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = time(text)?;
    if interval < SHORTEST_INTERVAL { Err("100ms at least".to_owned()) } else { Ok(interval) }
}

fn id(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "the id of a peer is a whole number")
}

/// Where help has the options that all commands have in common.
const SERVER: &str = "Options for the server";

const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}

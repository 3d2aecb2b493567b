//! The command line.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use throttle_client::{Client, ClientBuilder};

use crate::{
    exit::{Code, Failure},
    lock::args::{Bond, Lock, Wanted, wanted},
    manual,
};

/// Runs commands under a lock of Throttle, and shows who holds what.
#[derive(Debug, Parser)]
#[command(name = "throttlectl", version, after_long_help = manual::after_help(), max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Tell on standard error what the client does: attempts, heartbeats, losses; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where the server is.
#[derive(Args, Debug)]
pub(crate) struct Server {
    /// URL of the server, or unix: and the file of its socket; several, separated by commas, if there are several ways to it
    #[arg(
        long,
        global = true,
        env = "THROTTLE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8000",
        value_delimiter = ','
    )]
    url: Vec<String>,
    /// Header for every request, as `Name: value`; may be given several times
    #[arg(long, global = true, value_name = "HEADER")]
    header: Vec<String>,
    /// Bearer token for a proxy that wants one; better in the environment than on the command line
    #[arg(long, global = true, env = "THROTTLE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File with certificates (PEM) of authorities that are trusted besides the system's
    #[arg(long, global = true, env = "THROTTLE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with a certificate and its private key (PEM), for a server or proxy that asks for one
    #[arg(long, global = true, env = "THROTTLE_CLIENT_CERT", value_name = "FILE")]
    client_cert: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command under a lock
    Lock(Lock),
    /// Whether the server is there, and how much there is to it
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
        /// Its name
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
        /// Names, each with a count if it is not 1
        #[arg(required = true, value_name = "NAME[:COUNT]", value_parser = wanted)]
        semaphores: Vec<Wanted>,
    },
    /// Whether the server is healthy and takes on work
    ///
    /// Ends with 69 if not, or if it cannot be reached at the first attempt.
    Health {
        /// Whether it is alive is enough: it may be about to shut down
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
        /// Its id
        id: u64,
    },
    /// All semaphores in a table that stays up to date, until Ctrl+C
    Watch {
        /// How often to look
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
    /// How to print it
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
        if let Some(token) = &self.token {
            client = client.bearer_token(token);
        }
        for header in &self.header {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| usage(format!("no header, which is `Name: value`: {header:?}")))?;
            client = client.header(name.trim(), value.trim());
        }
        if let Some(file) = &self.ca {
            client = client.ca_certificates(read(file)?);
        }
        if let Some(file) = &self.client_cert {
            client = client.client_certificate(read(file)?);
        }
        Ok(client)
    }
}

fn usage(message: impl fmt::Display) -> Failure {
    Failure::new(Code::USAGE, anyhow!("{message}"))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| usage(format!("cannot read {}: {error}", file.display())))
}

/// How often to look, which no server may be asked without a pause.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < SHORTEST_INTERVAL { Err("100ms at least".to_owned()) } else { Ok(interval) }
}

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

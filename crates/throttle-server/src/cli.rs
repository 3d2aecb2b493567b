//! The command line.

use std::{env, ffi::OsString, path::PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser};
use throttle_server::config::Filter;

/// Semaphores for distributed systems over HTTP.
#[derive(Debug, Parser)]
#[command(name = "throttle", version)]
pub(crate) struct Arguments {
    /// Name or address to listen on.
    #[arg(long, env = "THROTTLE_ADDRESS", default_value = "127.0.0.1")]
    pub(crate) address: String,

    /// Port to listen on; 0 for any that is free.
    #[arg(long, env = "THROTTLE_PORT", default_value_t = 8000)]
    pub(crate) port: u16,

    /// Configuration to serve. Without it: throttle.toml in the working directory, if there is one.
    #[arg(short, long, value_name = "FILE", env = "THROTTLE_CONFIGURATION")]
    pub(crate) configuration: Option<PathBuf>,

    /// Least severe messages on the standard error stream, whatever the configuration says: ERROR,
    /// WARN, INFO, DEBUG, TRACE or OFF; of parts of the program others: INFO,throttle_http=DEBUG.
    #[arg(long, value_name = "FILTER", env = "THROTTLE_LOG")]
    pub(crate) log: Option<Filter>,

    /// Say what the configuration is, or all that is wrong with it, and exit.
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,

    /// Ask the server that listens on this address and port whether it is there, and exit.
    #[arg(long, conflicts_with_all = ["check_config", "print_config"])]
    pub(crate) check_health: bool,

    /// Print a configuration that explains every option, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,
}

impl Arguments {
    /// What this process was started with. Variables that are empty count as unset: that is what
    /// compose files make of variables that nobody set.
    pub(crate) fn of_process() -> Self {
        Self::try_read(env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn try_read(arguments: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command().mut_args(|argument| {
            let value = argument.get_env().and_then(env::var_os);
            let is_empty = value.is_some_and(|value| value.is_empty());
            if is_empty { argument.env(None::<&str>) } else { argument }
        });
        let mut matches = command.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}

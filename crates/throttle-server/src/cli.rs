//! The command line.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};
use throttle_server::{Address, config::Filter};

/// Semaphores for distributed systems over HTTP. Without a command it serves.
#[derive(Debug, Parser)]
#[command(
    name = "throttle",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    /// What to do in place of serving.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Name or address to listen on, or `unix:` and the path of a socket.
    #[arg(long, env = "THROTTLE_ADDRESS", default_value = "127.0.0.1")]
    pub(crate) address: String,

    /// Port to listen on; 0 for any that is free.
    #[arg(long, env = "THROTTLE_PORT", default_value_t = 8000)]
    pub(crate) port: u16,

    /// Configuration file. Without it: throttle.toml in the working directory, if there is one.
    #[arg(short, long, value_name = "FILE", env = "THROTTLE_CONFIGURATION")]
    pub(crate) configuration: Option<PathBuf>,

    /// Level of the messages on the standard error stream, in place of that in the configuration: ERROR,
    /// WARN, INFO, DEBUG, TRACE or OFF. Parts of the program can have others: INFO,throttle_http=DEBUG.
    #[arg(long, value_name = "FILTER", env = "THROTTLE_LOG")]
    pub(crate) log: Option<Filter>,

    /// Print a summary of the configuration, or all its mistakes, and exit.
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,

    /// Ask the server at this address and port whether it is healthy, and exit with 0 or 1. In a container,
    /// without these flags, they are those of the server that runs there.
    #[arg(long, conflicts_with_all = ["check_config", "print_config"])]
    pub(crate) check_health: bool,

    /// Print a sample configuration that explains every option, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,

    /// Whether the address or the port was given by a flag.
    #[arg(skip)]
    has_address_flag: bool,
}

/// What the binary does besides serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Inspect, check and copy the file of a durable store.
    #[command(subcommand)]
    Store(StoreCommand),
}

/// A command about the file of a store. Each exits with 0 if it succeeded, 1 if not, and 2 if the command line is
/// invalid.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Print a summary for people: peers, holders and waiters of each semaphore, ages, size.
    ///
    /// The file is that of a stopped server, or a copy of such a file. It is not changed.
    Inspect {
        /// File of the store.
        path: PathBuf,
    },

    /// Print all records as lines of JSON, for programs and for `import`.
    ///
    /// The file is that of a stopped server, or a copy of such a file. It is not changed.
    Export {
        /// File of the store.
        path: PathBuf,
    },

    /// Check the file and every record in it, and exit with 1 if anything is wrong.
    ///
    /// The file is that of a stopped server, or a copy of such a file. It is not changed.
    Verify {
        /// File of the store.
        path: PathBuf,
    },

    /// Make the file of a store out of the lines that `export` or `backup` wrote.
    Import {
        /// File with the lines; `-` for the standard input.
        file: PathBuf,
        /// File of the store. It must not exist.
        path: PathBuf,
    },

    /// Write all records of a running server into a file, as `export` prints them.
    ///
    /// The server goes on meanwhile. What is written is its state at one instant. The file is on the disk when
    /// the command ends; if it fails, an earlier file of that name is unchanged.
    Backup {
        /// URL of the server, or `unix:` and the path of its socket.
        #[arg(long, env = "THROTTLE_URL", default_value = "http://127.0.0.1:8000")]
        url: String,
        /// File to write.
        file: PathBuf,
    },
}

/// The name of the binary.
const PROGRAM: &str = "throttle";
/// The command line of process 1 on Linux. Elsewhere there is no such file, and there are no containers.
const COMMAND_LINE_OF_THE_FIRST_PROCESS: &str = "/proc/1/cmdline";

impl Arguments {
    /// The arguments and environment of this process. Empty variables count as unset, because compose files set
    /// unset variables to the empty string.
    pub(crate) fn of_process() -> Self {
        Self::try_read(env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// The address to listen on.
    pub(crate) fn address(&self) -> Address {
        Address::new(&self.address, self.port)
    }

    /// The address of the server to check.
    ///
    /// In a container, the health check is started without the flags of the container's command. So unless it has
    /// flags of its own, they are taken from process 1, if that is a server.
    pub(crate) fn address_to_check(&self) -> Address {
        let of_server = fs::read(COMMAND_LINE_OF_THE_FIRST_PROCESS).ok();
        let of_server = of_server.filter(|_| !self.has_address_flag);
        let of_server = of_server.and_then(|line| Self::of_command_line(&line));
        of_server.as_ref().unwrap_or(self).address()
    }

    /// The arguments of another process, from its command line with a zero byte after each, if that process is a
    /// server. An init program such as `tini` may come before it.
    fn of_command_line(line: &[u8]) -> Option<Self> {
        let line = str::from_utf8(line.strip_suffix(b"\0").unwrap_or(line)).ok()?;
        let is_server = |argument: &&str| Path::new(argument).file_name() == Some(PROGRAM.as_ref());
        let arguments = line.split('\0').skip_while(|argument| !is_server(argument));
        let mut arguments = arguments.map(OsString::from).peekable();
        arguments.peek()?;
        Self::try_read(arguments).ok()
    }

    fn try_read(arguments: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = without_empty_variables(Self::command());
        let mut matches = command.try_get_matches_from_mut(arguments)?;
        let has_flag = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        let has_address_flag = has_flag("address") || has_flag("port");
        let arguments = Self::from_arg_matches_mut(&mut matches);
        let arguments = arguments.map_err(|error| error.format(&mut command))?;
        Ok(Self { has_address_flag, ..arguments })
    }
}

/// The command with its subcommands, which reads no variable that is empty.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        let value = argument.get_env().and_then(env::var_os);
        let is_empty = value.is_some_and(|value| value.is_empty());
        if is_empty { argument.env(None::<&str>) } else { argument }
    });
    command.mut_subcommands(without_empty_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_of_the_server_do_not_go_with_a_command() {
        let read = |line: &str| Arguments::try_read(line.split(' ').map(OsString::from));
        let Some(Command::Store(StoreCommand::Inspect { path })) =
            read("throttle store inspect throttle.redb").unwrap().command
        else {
            panic!("another command")
        };
        assert_eq!(path, Path::new("throttle.redb"));
        for invalid in
            ["--port 1 store inspect it", "store", "store inspect", "store inspect it --port 1"]
        {
            assert!(read(&format!("throttle {invalid}")).is_err(), "{invalid}");
        }
    }

    #[test]
    fn the_flags_of_a_server_are_found_in_the_command_line_of_its_process() {
        let address = |line: &str| {
            let found = Arguments::of_command_line(line.replace(' ', "\0").as_bytes());
            found.map(|arguments| arguments.address().to_string())
        };
        let found = |address: &str| Some(address.to_owned());
        assert_eq!(address("/usr/bin/throttle --port 9000 "), found("127.0.0.1:9000"));
        assert_eq!(address("throttle --port=9000 --address [::] "), found("[::]:9000"));
        assert_eq!(
            address("/sbin/tini -- /usr/bin/throttle --port 9000 "),
            found("127.0.0.1:9000")
        );
        assert_eq!(address("/usr/bin/throttle "), found("127.0.0.1:8000"));
        for other in ["", "/sbin/init ", "/usr/bin/throttle --unknown ", "sh -c :throttle: "] {
            assert_eq!(address(other), None, "{other}");
        }
    }
}

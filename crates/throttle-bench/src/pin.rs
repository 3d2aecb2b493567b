//! Server and load on a processor each, so that neither takes the other's time.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
};

use serde::Serialize;

/// Which processors are for whom.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pins {
    /// Whether servers have the first processor for themselves, and the load the second.
    pub(crate) pinned: bool,
}

impl Pins {
    /// Keeps this process to the second processor, if there is one and the system lets us. It takes
    /// the program `taskset`, which Linux distributions bring with util-linux.
    pub(crate) fn pin_load() -> Self {
        let several = thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
        let process = std::process::id().to_string();
        let pinned =
            several && succeeds(Command::new("taskset").args(["-a", "-c", "-p", "1", &process]));
        Self { pinned }
    }

    /// Servers run where they will; so does this process.
    pub(crate) const fn none() -> Self {
        Self { pinned: false }
    }

    /// A command that starts a server where it belongs.
    pub(crate) fn server_command(self, program: &Path) -> Command {
        if !self.pinned {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    }
}

/// Runs a command without its streams; returns whether it succeeded.
fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

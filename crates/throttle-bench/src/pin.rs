//! Pins server and load generator to a processor each, so that neither takes time from the other.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
};

use serde::Serialize;

/// Whether server and load are pinned.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pins {
    /// Whether servers run on the first processor only, and the load generator on the second only.
    pub(crate) pinned: bool,
}

impl Pins {
    /// Pins this process to the second processor, if there is one. Needs the program `taskset` of util-linux.
    pub(crate) fn pin_load() -> Self {
        let several = thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
        let process = std::process::id().to_string();
        let pinned =
            several && succeeds(Command::new("taskset").args(["-a", "-c", "-p", "1", &process]));
        Self { pinned }
    }

    /// Pins neither servers nor this process.
    pub(crate) const fn none() -> Self {
        Self { pinned: false }
    }

    /// A command that starts a server on its processor.
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

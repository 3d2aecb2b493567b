//! The command and the processes that it starts, as far as the system lets us reach them.
//!
//! On Unix, the command leads a process group, so that one signal reaches all of it, and this program hands
//! it the [terminal] if there is one. If the command is stopped at the terminal, this program stops
//! as well, so that the shell takes over; when both continue, the caller checks the lock first.
//!
//! On Linux, the command is killed if this program dies first: a [helper](mod@die_with_parent) asks the
//! system for that before it executes the command. [Descendants](descendants) outside of the process group
//! are found as well.
//!
//! On Windows, a job holds the command and the processes that it starts. The job ends with this program.

#[cfg(target_os = "linux")]
mod descendants;
#[cfg(unix)]
mod die_with_parent;
#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;
#[cfg(unix)]
mod terminal;

use std::{
    ffi::{OsStr, OsString},
    io,
};

use anyhow::anyhow;

#[cfg(unix)]
pub(super) use self::die_with_parent::become_command;
#[cfg(windows)]
pub(super) use self::system::become_command;
use crate::exit_status::{ExitStatus, Failure};

/// What happened to a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// The command ended; the exit status to pass on.
    Ended(ExitStatus),
    /// This program continues after a stop. The command stays stopped until [`Child::resume`].
    Continued,
}

pub(super) struct Child(system::Process);

impl Child {
    pub(super) fn start(
        command: &[OsString],
        environment: &[(&str, String)],
    ) -> Result<Self, Failure> {
        let (program, arguments) = command.split_first().expect("a command has a program");
        system::Process::start(program, arguments, environment).map(Self)
    }

    /// Waits for the next event. After the end of the command, returns [`Event::Ended`] each time.
    pub(super) async fn next_event(&mut self) -> io::Result<Event> {
        self.0.next_event().await
    }

    /// Waits for the command to end, and ignores other events. Returns its exit status.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Event::Ended(status) = self.next_event().await? {
                return Ok(status);
            }
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    /// Continues the command after a stop.
    pub(super) fn resume(&self) {
        self.0.resume();
    }

    /// Asks the command and its process group to end. Does nothing on Windows, which has no such request.
    pub(super) fn terminate(&self) {
        self.0.terminate();
    }

    /// Kills the command, and all processes of it that can be reached.
    pub(super) fn kill(&mut self) {
        self.0.kill();
    }

    /// Whether a process is alive that [`Child::kill`] reaches.
    pub(super) fn has_survivors(&mut self) -> bool {
        self.0.has_survivors()
    }

    /// Forwards a signal that this program received.
    pub(super) fn forward(&self, signal: i32) {
        self.0.forward(signal);
    }
}

/// The failure of a command that cannot be executed, with the exit status that shells use.
fn cannot_run(program: &OsStr, error: &io::Error) -> Failure {
    let status = match error.kind() {
        io::ErrorKind::NotFound => ExitStatus::NOT_FOUND,
        _ => ExitStatus::NOT_EXECUTABLE,
    };
    Failure::new(status, anyhow!("cannot run {}: {error}", program.display()))
}

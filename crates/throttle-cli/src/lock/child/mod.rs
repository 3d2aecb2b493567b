//! The command, and those it starts, as far as the system lets us reach them.
//!
//! On Unix it has a process group of its own, so that signals reach all of it, and is [handed the
//! terminal](terminal) if there is one. Stopped there, it stops this program as well, so that the shell
//! takes over; when both continue, the caller looks at the lock first. On Linux the command is killed if
//! this program dies first: it begins as a [helper](mod@die_with_parent) that asks the system for that before it becomes
//! the command; and what it starts is [found](descendants) also beyond its group. On Windows it has a job,
//! which ends with this program and takes all with it that the command started.

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
    /// It ended, and this is what to exit with.
    Ended(ExitStatus),
    /// This program continues after a stop, or was told to. The command goes on by [`Child::resume`].
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

    /// Waits for what happens next. After its end it says [`Event::Ended`] again.
    pub(super) async fn next_event(&mut self) -> io::Result<Event> {
        self.0.next_event().await
    }

    /// Waits for it to end, whatever else happens, and returns what to exit with.
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

    /// Lets it go on after a stop.
    pub(super) fn resume(&self) {
        self.0.resume();
    }

    /// Asks all of it that can be reached to end.
    pub(super) fn terminate(&self) {
        self.0.terminate();
    }

    /// Ends all of it that can be reached.
    pub(super) fn kill(&mut self) {
        self.0.kill();
    }

    /// Whether anything of it is left that [`Child::kill`] reaches.
    pub(super) fn has_survivors(&mut self) -> bool {
        self.0.has_survivors()
    }

    /// Passes on a signal that came to this program.
    pub(super) fn forward(&self, signal: i32) {
        self.0.forward(signal);
    }
}

/// As the shell has it.
fn cannot_run(program: &OsStr, error: &io::Error) -> Failure {
    let status = match error.kind() {
        io::ErrorKind::NotFound => ExitStatus::NOT_FOUND,
        _ => ExitStatus::NOT_EXECUTABLE,
    };
    Failure::new(status, anyhow!("cannot run {}: {error}", program.display()))
}

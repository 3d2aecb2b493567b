//! The command, and those it starts, as far as the system lets us reach them.
//!
//! On Unix it has a process group of its own, so that signals reach all of it, unless it talks to a
//! terminal: there only the foreground group may read, and Ctrl+C and Ctrl+Z reach the whole group by
//! themselves, this program included, which is right for both. On Linux it is killed if this program
//! dies first: between the two stands a [bond] that asks the system for that before it becomes the
//! command. On Windows it has a job, which ends with this program and takes all with it that the command
//! started.

#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;

use std::{
    ffi::{OsStr, OsString},
    io,
};

use anyhow::anyhow;

pub(super) use self::system::bond;
use crate::exit::{Code, Failure};

/// How a command ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    Certainly,
    Gently,
}

pub(super) struct Child(system::Process);

impl Child {
    pub(super) fn start(
        command: &[OsString],
        environment: &[(&str, String)],
    ) -> Result<Self, Failure> {
        let (program, arguments) = command.split_first().expect("the command line demands one");
        let mut command = system::prepare(program, arguments)?;
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let process = system::Process::start(command);
        process.map(Self).map_err(|error| cannot_run(program, &error))
    }

    /// Waits for it, and returns what to exit with. May be asked again.
    pub(super) async fn wait(&mut self) -> io::Result<Code> {
        self.0.wait().await.map(system::code)
    }

    /// Ends all of it that can be reached.
    pub(super) fn end(&mut self, manner: Manner) {
        self.0.end(manner);
    }

    /// Passes on a signal that came to this program.
    pub(super) fn forward(&mut self, signal: i32) {
        self.0.forward(signal);
    }
}

/// As the shell has it.
fn cannot_run(program: &OsStr, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::NOT_FOUND,
        _ => Code::NOT_EXECUTABLE,
    };
    Failure::new(code, anyhow!("cannot run {}: {error}", program.display()))
}

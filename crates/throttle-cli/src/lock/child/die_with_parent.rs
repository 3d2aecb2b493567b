//! What a command is before it becomes the command.
//!
//! Some things a process can ask for itself only, and only between its start and the command: to be
//! killed with its parent, and to have the terminal from its first instruction on.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt as _,
    process::{self, Command},
};

use anyhow::anyhow;
use rustix::process::{Pid, getpgrp, getppid};

use super::{cannot_run, terminal::Terminal};
use crate::{
    exit_status::{ExitStatus, Failure},
    lock::args::DieWithParent,
};

/// A command that becomes another one, in a process group of its own.
pub(super) fn command(
    program: &OsStr,
    arguments: &[OsString],
    takes_terminal: bool,
) -> io::Result<Command> {
    let mut command = Command::new(this_program()?);
    command.arg0("throttlectl").arg("__die-with-parent").arg(process::id().to_string());
    if takes_terminal {
        command.arg("--terminal");
    }
    command.arg("--").arg(program).args(arguments).process_group(0);
    Ok(command)
}

/// The file that this program was started from, also if another one has taken its name since.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn this_program() -> io::Result<&'static str> {
    Ok("/proc/self/exe")
}

#[cfg(not(target_os = "linux"))]
fn this_program() -> io::Result<std::path::PathBuf> {
    std::env::current_exe()
}

/// Asks the system for what the command needs, then becomes the command.
pub(in crate::lock) fn become_command(arguments: &DieWithParent) -> Failure {
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
    {
        return Failure::new(ExitStatus::SYSTEM, io::Error::from(error));
    }
    // If it died before that, there is no signal.
    let parent = getppid().map(Pid::as_raw_nonzero);
    if parent.and_then(|parent| u32::try_from(parent.get()).ok()) != Some(arguments.parent) {
        return Failure::new(ExitStatus::SYSTEM, anyhow!("the parent is gone"));
    }
    if arguments.terminal {
        // A terminal that is gone meanwhile is no reason not to run.
        if let Some(terminal) = Terminal::open() {
            terminal.hand_to(getpgrp());
        }
    }
    let (program, arguments) =
        arguments.command.split_first().expect("the command line demands one");
    let error = Command::new(program).args(arguments).exec();
    cannot_run(program, &error)
}

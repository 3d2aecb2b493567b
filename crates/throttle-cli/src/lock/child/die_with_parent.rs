//! The helper process that becomes the command: it asks the system to be killed with its parent, and takes
//! the terminal.
//!
//! A process can ask for the first only for itself, and the second has to happen before the command's first
//! instruction. So this program runs itself as the helper, which then executes the command.

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

/// The helper, as a command that leads a process group of its own.
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

/// The file of this program, also if another file has replaced it since the start.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn this_program() -> io::Result<&'static str> {
    Ok("/proc/self/exe")
}

#[cfg(not(target_os = "linux"))]
fn this_program() -> io::Result<std::path::PathBuf> {
    std::env::current_exe()
}

/// The helper: prepares this process, then executes the command. Returns only on failure.
pub(in crate::lock) fn become_command(arguments: &DieWithParent) -> Failure {
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
    {
        return Failure::new(ExitStatus::SYSTEM, io::Error::from(error));
    }
    // If the parent died before that call, the system sends no signal.
    let parent = getppid().map(Pid::as_raw_nonzero);
    if parent.and_then(|parent| u32::try_from(parent.get()).ok()) != Some(arguments.parent) {
        return Failure::new(ExitStatus::SYSTEM, anyhow!("the parent is gone"));
    }
    if arguments.terminal {
        // The command runs also if the terminal is gone by now.
        if let Some(terminal) = Terminal::open() {
            terminal.hand_to(getpgrp());
        }
    }
    let (program, arguments) =
        arguments.command.split_first().expect("the command line demands one");
    let error = Command::new(program).args(arguments).exec();
    cannot_run(program, &error)
}

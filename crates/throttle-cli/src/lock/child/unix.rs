//! Processes of Unix: groups, signals, and death with the parent.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, IsTerminal as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{self, ExitStatus},
};

use anyhow::anyhow;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

use super::{Manner, cannot_run};
use crate::{
    exit::{Code, Failure},
    lock::args::Bond,
};

pub(super) struct Process {
    child: Child,
    /// If it has a group of its own: its number, which nobody else gets while somebody is in it.
    group: Option<Pid>,
}

impl Process {
    /// Starts it in a group of its own, unless that would cut it off from its terminal.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        let has_group = !io::stdin().is_terminal();
        if has_group {
            command.process_group(0);
        }
        let child = command.spawn()?;
        let group = if has_group { pid(&child) } else { None };
        Ok(Self { child, group })
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "on other systems it changes")]
    pub(super) fn end(&mut self, manner: Manner) {
        self.send(match manner {
            Manner::Certainly => Signal::KILL,
            Manner::Gently => Signal::TERM,
        });
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "on other systems it changes")]
    pub(super) fn forward(&mut self, signal: i32) {
        // What came from the terminal has reached a command without a group already.
        let is_from_terminal = [Signal::INT, Signal::QUIT].map(Signal::as_raw).contains(&signal);
        if self.group.is_some() || !is_from_terminal {
            self.send(Signal::from_named_raw(signal).expect("only named signals are heard"));
        }
    }

    fn send(&self, signal: Signal) {
        // Whoever is gone already has no need of it.
        let _ = match (self.group, pid(&self.child)) {
            (Some(group), _) => kill_process_group(group, signal),
            (None, Some(pid)) => kill_process(pid, signal),
            (None, None) => Ok(()),
        };
    }
}

/// None if it has been waited for: its number may be that of somebody else by now.
fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

pub(super) fn code(status: ExitStatus) -> Code {
    match status.code() {
        Some(code) => Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        None => Code::signal(status.signal().unwrap_or_default()),
    }
}

/// The command itself, or the bond that becomes it.
pub(super) fn prepare(program: &OsStr, arguments: &[OsString]) -> io::Result<Command> {
    if !cfg!(target_os = "linux") {
        let mut command = Command::new(program);
        command.args(arguments);
        return Ok(command);
    }
    let mut command = Command::new(env::current_exe()?);
    command.args(["__bond", &process::id().to_string(), "--"]).arg(program).args(arguments);
    Ok(command)
}

/// Asks the system to kill this process with its parent, then becomes the command.
pub(in crate::lock) fn bond(bond: &Bond) -> Failure {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return Failure::new(Code::SYSTEM, io::Error::from_raw_os_error(error.raw_os_error()));
    }
    // If it died before that, there is no signal.
    let parent = rustix::process::getppid().map(Pid::as_raw_nonzero);
    if parent.and_then(|parent| u32::try_from(parent.get()).ok()) != Some(bond.parent) {
        return Failure::new(Code::SYSTEM, anyhow!("the parent is gone"));
    }
    let (program, arguments) = bond.command.split_first().expect("the command line demands one");
    let error = process::Command::new(program).args(arguments).exec();
    cannot_run(program, &error)
}

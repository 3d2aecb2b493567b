//! The command as a process group of Unix: starts it, waits for it and sends signals to it.

#[path = "job_control.rs"]
mod job_control;

use std::{
    ffi::{OsStr, OsString},
    io,
};

use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitOptions, WaitStatus, kill_current_process_group, kill_process_group,
        test_kill_process_group, wait,
    },
};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use self::job_control::others_may_need_terminal;
#[cfg(target_os = "linux")]
use super::descendants::Descendants;
use super::{Event, cannot_run, die_with_parent, terminal::Terminal};
use crate::{
    exit_status::{ExitStatus, Failure},
    ignored_signals::is_ignored,
};

/// The command, which leads a process group of its own.
pub(super) struct Process {
    /// The id of the process and of its group. The system does not reuse it while the group has a member.
    id: Pid,
    exit_status: Option<ExitStatus>,
    terminal: Option<Terminal>,
    child_signals: Signals,
    /// Signals that stop and continue this program. `None` if they are ignored.
    stop_signals: Option<Signals>,
    continue_signals: Option<Signals>,
    /// Whether this program received a signal to stop and forwarded it to the command.
    is_stopping: bool,
    is_killed: bool,
    #[cfg(target_os = "linux")]
    descendants: Descendants,
}

impl Process {
    pub(super) fn start(
        program: &OsStr,
        arguments: &[OsString],
        environment: &[(&str, String)],
    ) -> Result<Self, Failure> {
        // Before there is a child: the parent may have made this program ignore CHLD, and then the system
        // does not report how children end.
        let child_signals = signal(SignalKind::child())?;
        let received =
            |it| if is_ignored(it) { Ok(None) } else { signal(signal_kind(it)).map(Some) };
        let (stop_signals, continue_signals) = (received(Signal::TSTP)?, received(Signal::CONT)?);
        let terminal = Terminal::open();
        let is_ours = terminal.as_ref().is_some_and(Terminal::is_ours);
        let mut command =
            die_with_parent::command(program, arguments, is_ours && !others_may_need_terminal())?;
        #[cfg(target_os = "linux")]
        let descendants = Descendants::track();
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().map_err(|error| cannot_start(program, error))?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let id = id.expect("the id of a child is positive");
        Ok(Self {
            id,
            exit_status: None,
            terminal,
            child_signals,
            stop_signals,
            continue_signals,
            is_stopping: false,
            is_killed: false,
            #[cfg(target_os = "linux")]
            descendants,
        })
    }

    pub(super) async fn next_event(&mut self) -> io::Result<Event> {
        loop {
            if let Some(event) = self.poll_children()? {
                return Ok(event);
            }
            tokio::select! {
                biased;
                _ = self.child_signals.recv() => {}
                () = next(&mut self.stop_signals) => {
                    self.is_stopping = true;
                    self.send(Signal::TSTP);
                }
                () = next(&mut self.continue_signals) => {
                    self.is_stopping = false;
                    return Ok(Event::Continued);
                }
            }
        }
    }

    /// Collects all children that have ended or stopped. Returns an event if one concerns the command.
    ///
    /// As the first process of a container, this program inherits the children of other processes.
    fn poll_children(&mut self) -> io::Result<Option<Event>> {
        loop {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((id, status))) if id == self.id => {
                    if let Some(stop) = status.stopping_signal() {
                        if self.on_stopped(stop) {
                            return Ok(Some(Event::Continued));
                        }
                    } else {
                        self.on_ended(status);
                    }
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(Errno::CHILD) if self.exit_status.is_some() => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.exit_status.map(Event::Ended))
    }

    fn on_ended(&mut self, status: WaitStatus) {
        self.exit_status = Some(exit_status(status));
        let has_terminal = self.take_terminal_back();
        if self.is_killed
            && let Some(terminal) = self.terminal.as_ref().filter(|_| has_terminal)
        {
            terminal.restore_modes();
        }
        // Ctrl+C is for the whole job: also for the script that runs this program, and for the reader of its
        // output.
        let interrupts = [Signal::INT, Signal::QUIT];
        let by = status.terminating_signal().and_then(Signal::from_named_raw);
        if let Some(signal) = by.filter(|it| has_terminal && interrupts.contains(it)) {
            let _ = kill_current_process_group(signal);
        }
    }

    pub(super) fn terminate(&self) {
        self.send(Signal::TERM);
        // A stopped process handles TERM only after it continues.
        self.send(Signal::CONT);
    }

    pub(super) fn kill(&mut self) {
        self.is_killed = true;
        self.send(Signal::KILL);
        #[cfg(target_os = "linux")]
        self.descendants.kill();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.exit_status.is_some()
    }

    pub(super) fn has_survivors(&mut self) -> bool {
        // Ended processes count as members of their group until they are collected. If collecting fails, the
        // next wait reports the error.
        let _ = self.poll_children();
        #[cfg(target_os = "linux")]
        if self.descendants.any_alive() {
            return true;
        }
        test_kill_process_group(self.id).is_ok()
    }

    pub(super) fn forward(&self, signal: i32) {
        self.send(Signal::from_named_raw(signal).expect("only named signals are received"));
    }

    fn send(&self, signal: Signal) {
        // The group may be gone already.
        let _ = kill_process_group(self.id, signal);
    }
}

/// The failure to start the helper. Most causes have nothing to do with the command, because the helper is
/// this program and executes the command later.
fn cannot_start(program: &OsStr, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ArgumentListTooLong => cannot_run(program, &error),
        _ => Failure::from(error).context("cannot start another process".to_owned()),
    }
}

/// Waits for the next signal; for ever if it is ignored.
async fn next(signals: &mut Option<Signals>) {
    match signals {
        Some(signals) => {
            signals.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn signal_kind(signal: Signal) -> SignalKind {
    SignalKind::from_raw(signal.as_raw())
}

fn exit_status(status: WaitStatus) -> ExitStatus {
    match status.exit_status() {
        Some(code) => ExitStatus(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        None => ExitStatus::of_signal(status.terminating_signal().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_cannot_start_a_process_is_no_fault_of_the_command() {
        for (error, expected) in [
            (Errno::AGAIN, ExitStatus::SYSTEM),
            (Errno::NOENT, ExitStatus::SYSTEM),
            (Errno::TOOBIG, ExitStatus::NOT_EXECUTABLE),
        ] {
            assert_eq!(cannot_start("true".as_ref(), error.into()).status, expected, "{error}");
        }
    }
}

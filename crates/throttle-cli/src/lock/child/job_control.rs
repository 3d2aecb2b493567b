//! Job control: stops and continues the command and this program together, and hands the terminal from one to
//! the other.

use rustix::process::{Signal, getpgrp, getpid, kill_current_process_group, kill_process};

use super::{super::terminal::is_in_pipeline, Process};
use crate::ignored_signals::is_ignored;

impl Process {
    /// Brings this program to the foreground if the command is there. Returns whether it was.
    pub(super) fn take_terminal_back(&self) -> bool {
        let terminal = self.terminal.as_ref().filter(|it| it.belongs_to(self.id));
        if let Some(terminal) = terminal {
            terminal.hand_to(getpgrp());
        }
        terminal.is_some()
    }

    /// Handles a stop of the command. Returns whether this program stopped as well, and has continued since.
    pub(super) fn on_stopped(&mut self, stop: i32) -> bool {
        let needs_terminal = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&stop);
        // The command asks for the terminal that this program has. A command that has the terminal was
        // stopped by the same signal for another reason: a `throttlectl` within it stopped its whole job, as
        // below.
        if needs_terminal
            && !self.is_stopping
            && let Some(terminal) = self.terminal.as_ref().filter(|it| it.is_ours())
        {
            terminal.hand_to(self.id);
            self.send(Signal::CONT);
            return false;
        }
        let has_terminal = self.take_terminal_back();
        // TSTP has a handler here. STOP would also stop a job that no shell will continue, which TTIN does
        // not. This program stops inside of these calls.
        let _ = if has_terminal || needs_terminal && !self.is_stopping {
            // Stop the whole job, as Ctrl+Z does, so that the shell takes over.
            kill_current_process_group(Signal::TTIN)
        } else if self.is_stopping {
            // Stop this program only: the other processes of the job received the signal themselves, or were
            // not meant.
            kill_process(getpid(), Signal::TTIN)
        } else {
            // Somebody stopped the command alone, and will continue it.
            return false;
        };
        self.is_stopping = false;
        true
    }

    pub(in super::super) fn resume(&self) {
        if let Some(terminal) = self.terminal.as_ref().filter(|it| it.is_ours())
            && !others_may_need_terminal()
        {
            terminal.hand_to(self.id);
        }
        self.send(Signal::CONT);
    }
}

/// Whether other processes of the job may need the terminal more than the command. The command then gets it
/// only when it asks for it.
pub(super) fn others_may_need_terminal() -> bool {
    // A script that runs this program in the background has it ignore INT, and keeps the terminal.
    is_in_pipeline() || is_ignored(Signal::INT)
}

//! Job control: what happens when the command or this program is stopped and continued, and which of the two
//! has the terminal.

use rustix::process::{Signal, getpgrp, getpid, kill_current_process_group, kill_process};

use super::{super::terminal::is_in_pipeline, Process};
use crate::ignored_signals::is_ignored;

impl Process {
    /// Puts this program into the foreground if the command is there, and returns whether it was.
    pub(super) fn take_terminal_back(&self) -> bool {
        let terminal = self.terminal.as_ref().filter(|it| it.belongs_to(self.id));
        if let Some(terminal) = terminal {
            terminal.hand_to(getpgrp());
        }
        terminal.is_some()
    }

    /// The command was stopped. Returns whether this program was stopped along with it, and continues.
    pub(super) fn on_stopped(&mut self, stop: i32) -> bool {
        let needs_terminal = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&stop);
        // One in the foreground does not need it. It was stopped as one job with its own commands.
        if needs_terminal
            && !self.is_stopping
            && let Some(terminal) = self.terminal.as_ref().filter(|it| it.is_ours())
        {
            terminal.hand_to(self.id);
            self.send(Signal::CONT);
            return false;
        }
        let has_terminal = self.take_terminal_back();
        // Not by TSTP, for which there is a handler, and not by STOP, for a job that no shell would
        // continue must not stop. Here this program stands still.
        let _ = if has_terminal || needs_terminal && !self.is_stopping {
            // The whole job stops, as with Ctrl+Z: the shell then takes over.
            kill_current_process_group(Signal::TTIN)
        } else if self.is_stopping {
            // Others of the same job were told as well, or were not meant.
            kill_process(getpid(), Signal::TTIN)
        } else {
            // Somebody has stopped the command alone, who means to continue it as well.
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

/// Whether others in the same job may need the terminal more than the command does, which gets it when it
/// asks for it.
pub(super) fn others_may_need_terminal() -> bool {
    // This is how a script starts what it runs in the background, while it has the terminal itself.
    is_in_pipeline() || is_ignored(Signal::INT)
}

//! The terminal, and which process group is in its foreground.
//!
//! Only the foreground group may read from the terminal and receives Ctrl+C and Ctrl+Z. A shell brings this
//! program to the foreground as its job, and this program hands the terminal over to the command.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsFd, unix::fs::FileTypeExt as _},
};

use nix::sys::signal::{SigSet, Signal};
use rustix::{
    process::{Pid, getpgrp},
    termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp},
};

/// The terminal that controls this process.
pub(super) struct Terminal {
    file: File,
    /// The modes before the command had the terminal.
    modes: Option<Termios>,
}

impl Terminal {
    /// Opens the terminal. `None` if there is none.
    pub(super) fn open() -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        let modes = tcgetattr(&file).ok();
        Some(Self { file, modes })
    }

    /// Whether the process group of this program is in the foreground.
    pub(super) fn is_ours(&self) -> bool {
        self.belongs_to(getpgrp())
    }

    /// Whether this process group is in the foreground.
    pub(super) fn belongs_to(&self, group: Pid) -> bool {
        tcgetpgrp(&self.file) == Ok(group)
    }

    /// Brings a process group to the foreground. Works from the background too.
    pub(super) fn hand_to(&self, group: Pid) {
        // The system stops a process in the background that does this with TTOU, unless the signal is
        // blocked. The command does not inherit the mask, because the standard library clears it.
        let stop = SigSet::from(Signal::SIGTTOU);
        if stop.thread_block().is_ok() {
            // The terminal or the group may be gone.
            let _ = tcsetpgrp(&self.file, group);
            let _ = stop.thread_unblock();
        }
    }

    /// Restores the modes from before the command. A command that was killed could not do so itself.
    pub(super) fn restore_modes(&self) {
        if let Some(modes) = &self.modes {
            let _ = tcsetattr(&self.file, OptionalActions::Drain, modes);
        }
    }
}

/// Whether other processes of the job may need the terminal more than the command: a pager that reads its
/// output, or a menu that writes its input.
pub(super) fn is_in_pipeline() -> bool {
    is_pipe(&io::stdin()) || is_pipe(&io::stdout())
}

fn is_pipe<S: AsFd + io::IsTerminal>(stream: &S) -> bool {
    if stream.is_terminal() {
        return false;
    }
    let file = stream.as_fd().try_clone_to_owned().map(File::from);
    let kind = file.and_then(|file| file.metadata()).map(|it| it.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket())
}

//! The terminal, and which process group has it.
//!
//! One process group is in the foreground: it may read what is typed, and Ctrl+C and Ctrl+Z reach it and
//! nobody else. A shell puts its job there, which is this program, and this program hands the place on
//! to the command.

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
    /// How it was before a command had it.
    modes: Option<Termios>,
}

impl Terminal {
    /// None if there is no terminal.
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

    /// Puts a process group into the foreground, also from the background.
    pub(super) fn hand_to(&self, group: Pid) {
        // Whoever does so from the background is stopped by this signal, unless it is blocked. A
        // command does not inherit that, for the standard library clears the mask.
        let stop = SigSet::from(Signal::SIGTTOU);
        if stop.thread_block().is_ok() {
            // The terminal may be gone, or the group.
            let _ = tcsetpgrp(&self.file, group);
            let _ = stop.thread_unblock();
        }
    }

    /// Makes it what it was before the command had it. A command that was killed could not.
    pub(super) fn restore_modes(&self) {
        if let Some(modes) = &self.modes {
            let _ = tcsetattr(&self.file, OptionalActions::Drain, modes);
        }
    }
}

/// Whether others in the same job may need the terminal more than a command does: a pager that reads what
/// it writes, or a menu that writes what it reads.
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

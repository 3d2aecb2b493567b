//! Processes where there are neither groups nor signals, as on Windows: they can be killed.

use std::{
    ffi::{OsStr, OsString},
    io,
    process::ExitStatus,
};

use anyhow::anyhow;
use tokio::process::{Child, Command};

use super::Manner;
use crate::{
    args::Bond,
    exit::{Code, Failure},
};

/// The command alone.
pub(super) struct Reach;

impl Reach {
    pub(super) fn of(_: &mut Command) -> Self {
        Self
    }

    pub(super) fn to(self, _: &Child) -> Self {
        self
    }

    pub(super) fn end(&self, process: &mut Child, manner: Manner) {
        if manner == Manner::Certainly {
            // Whoever is gone already has no need of it.
            let _ = process.start_kill();
        }
    }

    /// Ctrl+C has reached the command by the console already.
    pub(super) fn forward(&self, _: &mut Child, _: i32) {}
}

pub(super) fn code(status: ExitStatus) -> Code {
    let code = status.code().unwrap_or(1);
    Code(u8::try_from(code).unwrap_or(u8::MAX))
}

pub(super) fn prepare(program: &OsStr, arguments: &[OsString]) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    Ok(command)
}

pub(in crate::lock) fn bond(_: &Bond) -> Failure {
    Failure::new(Code::USAGE, anyhow!("there are no bonds on this system"))
}

//! Processes of Windows, where there are no signals: a job holds the command and all that it starts, and
//! can be ended at once.

use std::{
    ffi::{OsStr, OsString},
    io,
    process::ExitStatus,
};

use anyhow::anyhow;
use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject, KillOnDrop};
use tokio::process::Command;

use super::Manner;
use crate::{
    exit::{Code, Failure},
    lock::args::Bond,
};

pub(super) struct Process(Box<dyn ChildWrapper>);

impl Process {
    /// Starts it in a job. The system ends the job when the last handle of it is closed, which it does
    /// itself should this program die.
    pub(super) fn start(command: Command) -> io::Result<Self> {
        CommandWrap::from(command).wrap(JobObject).wrap(KillOnDrop).spawn().map(Self)
    }

    /// Waits for the command alone; what it started may go on until this is dropped.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.inner_mut().wait().await
    }

    /// There is no gentle way.
    pub(super) fn end(&mut self, manner: Manner) {
        if manner == Manner::Certainly {
            // Whoever is gone already has no need of it.
            let _ = self.0.start_kill();
        }
    }

    /// Ctrl+C has reached the command by the console already.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "elsewhere it changes")]
    pub(super) fn forward(&mut self, _: i32) {}
}

/// The lowest byte, for this program has no more to end with; but failure stays failure.
pub(super) fn code(status: ExitStatus) -> Code {
    match status.code().unwrap_or(1) {
        0 => Code::SUCCESS,
        code => Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX).max(1)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(super) fn prepare(program: &OsStr, arguments: &[OsString]) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

pub(in crate::lock) fn bond(_: &Bond) -> Failure {
    Failure::new(Code::USAGE, anyhow!("there are no bonds on this system"))
}

//! The command as a job of Windows, which has no signals. The job holds the command and all processes that it
//! starts, and can be killed as a whole.

use std::{
    ffi::{OsStr, OsString},
    io, process,
};

use anyhow::anyhow;
use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject, KillOnDrop};
use tokio::process::Command;

use super::{Event, cannot_run};
use crate::{
    exit_status::{ExitStatus, Failure},
    lock::args::DieWithParent,
};

pub(super) struct Process {
    job: Box<dyn ChildWrapper>,
    has_ended: bool,
}

impl Process {
    /// Starts the command in a job. The system ends the job when its last handle is closed, also when this
    /// program dies.
    pub(super) fn start(
        program: &OsStr,
        arguments: &[OsString],
        environment: &[(&str, String)],
    ) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        let job = CommandWrap::from(command).wrap(JobObject).wrap(KillOnDrop).spawn();
        let job = job.map_err(|error| cannot_run(program, &error))?;
        Ok(Self { job, has_ended: false })
    }

    /// Waits for the command alone. Processes that it started may run until this is dropped.
    pub(super) async fn next_event(&mut self) -> io::Result<Event> {
        let status = self.job.inner_mut().wait().await?;
        self.has_ended = true;
        Ok(Event::Ended(exit_status(status)))
    }

    /// There are no stops on Windows.
    pub(super) fn resume(&self) {}

    /// Windows has no request to end.
    pub(super) fn terminate(&self) {}

    pub(super) fn kill(&mut self) {
        // The job may have ended already.
        let _ = self.job.start_kill();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "elsewhere it changes")]
    pub(super) fn has_survivors(&mut self) -> bool {
        !self.has_ended
    }

    /// The console sends Ctrl+C to the command itself.
    pub(super) fn forward(&self, _: i32) {}
}

/// The lowest byte of the exit code, because this program's own has no more. A failure never becomes 0.
fn exit_status(status: process::ExitStatus) -> ExitStatus {
    match status.code().unwrap_or(1) {
        0 => ExitStatus::SUCCESS,
        code => ExitStatus(u8::try_from(code & 0xff).unwrap_or(u8::MAX).max(1)),
    }
}

pub(in crate::lock) fn become_command(_: &DieWithParent) -> Failure {
    Failure::new(ExitStatus::USAGE, anyhow!("there is no such command on this system"))
}

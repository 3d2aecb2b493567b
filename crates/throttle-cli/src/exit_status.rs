//! How this program ends when it is not the command that says so.

use std::process::ExitCode;

use throttle_client::{Code, Error, LockError};

/// An exit status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ExitStatus(pub(crate) u8);

/// Those of `sysexits.h` where they fit, as few commands use them.
impl ExitStatus {
    pub(crate) const SUCCESS: Self = Self(0);
    /// What was asked for makes no sense.
    pub(crate) const USAGE: Self = Self(64);
    /// There is no such peer.
    pub(crate) const NO_SUCH_PEER: Self = Self(67);
    /// The server cannot be reached.
    pub(crate) const UNREACHABLE: Self = Self(69);
    /// Something failed on this machine.
    pub(crate) const SYSTEM: Self = Self(71);
    /// The result cannot be written to standard output.
    pub(crate) const OUTPUT: Self = Self(74);
    /// The lock was not free, or not in time.
    pub(crate) const NOT_ACQUIRED: Self = Self(75);
    /// The lock was lost, and the command ended for that.
    pub(crate) const LOST: Self = Self(76);
    /// The server refused.
    pub(crate) const REFUSED: Self = Self(78);
    /// The command cannot be executed, as the shell says.
    pub(crate) const NOT_EXECUTABLE: Self = Self(126);
    /// There is no such command, as the shell says.
    pub(crate) const NOT_FOUND: Self = Self(127);

    /// What to exit with after an error of the client.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidName { .. }
            | Error::InvalidRequest { .. }
            | Error::InvalidSetting { .. }
            | Error::InvalidUrl { .. } => Self::USAGE,
            Error::Refused { code, status, .. } => Self::of_refusal(*code, *status),
            _ => Self::UNREACHABLE,
        }
    }

    fn of_refusal(code: Code, status: u16) -> Self {
        match (status, code) {
            // Too many requests, or a place in the queue that somebody took away: a matter of this
            // moment.
            (429, _) | (_, Code::Cancelled) => Self::NOT_ACQUIRED,
            // The server cannot do what it would.
            (500..=599, _) => Self::UNREACHABLE,
            _ => Self::REFUSED,
        }
    }

    /// Ended by a signal, as the shell says.
    pub(crate) fn signal(number: i32) -> Self {
        Self(128_u8.wrapping_add(u8::try_from(number).unwrap_or_default()))
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(ExitStatus(status): ExitStatus) -> Self {
        status.into()
    }
}

/// Why the program ends early: what to exit with, and what to say.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: ExitStatus,
    pub(crate) error: anyhow::Error,
    /// What helps, if that is known.
    pub(crate) hint: Option<&'static str>,
}

impl Failure {
    pub(crate) fn new(status: ExitStatus, error: impl Into<anyhow::Error>) -> Self {
        Self { status, error: error.into(), hint: None }
    }

    pub(crate) fn context(self, context: String) -> Self {
        Self { error: self.error.context(context), ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, hint) = (ExitStatus::of(&error), hint(error.code()));
        Self { hint, ..Self::new(status, error) }
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        let status = match &error {
            LockError::Failed { source, .. } | LockError::Unreachable { source, .. } => {
                ExitStatus::of(source)
            }
            // Nothing was held yet; the next attempt may have more luck.
            LockError::AlreadyHeld { .. }
            | LockError::Lost { .. }
            | LockError::NotInTime { .. } => ExitStatus::NOT_ACQUIRED,
            _ => ExitStatus::UNREACHABLE,
        };
        let hint = hint(error.code());
        Self { hint, ..Self::new(status, error) }
    }
}

/// What helps when the server refuses for this reason.
fn hint(reason: Option<Code>) -> Option<&'static str> {
    (reason == Some(Code::UnknownSemaphore))
        .then_some("`throttlectl semaphores` lists those that are configured")
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(ExitStatus::SYSTEM, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_by_its_status_whether_another_attempt_makes_sense() {
        for (reason, status, expected) in [
            (Code::UnknownSemaphore, 400, ExitStatus::REFUSED),
            (Code::LockHierarchyViolation, 409, ExitStatus::REFUSED),
            (Code::Cancelled, 409, ExitStatus::NOT_ACQUIRED),
            (Code::TooManyPeers, 429, ExitStatus::NOT_ACQUIRED),
            (Code::Internal, 500, ExitStatus::UNREACHABLE),
            (Code::NotReady, 503, ExitStatus::UNREACHABLE),
        ] {
            assert_eq!(ExitStatus::of_refusal(reason, status), expected, "{reason}");
        }
    }
}

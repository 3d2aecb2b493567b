//! Exit statuses of throttlectl itself, not the command's.

use std::process::ExitCode;

use throttle_client::{Code, Error, LockError};

/// An exit status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ExitStatus(pub(crate) u8);

/// Numbers of `sysexits.h` where they fit, because few commands use them.
impl ExitStatus {
    pub(crate) const SUCCESS: Self = Self(0);
    /// The command line makes no sense.
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
    /// The lock was lost, so the command was ended; or, of `check`, it is not held.
    pub(crate) const LOST: Self = Self(76);
    /// The server refused.
    pub(crate) const REFUSED: Self = Self(78);
    /// The command cannot be executed. Shells use the same number.
    pub(crate) const NOT_EXECUTABLE: Self = Self(126);
    /// There is no such command. Shells use the same number.
    pub(crate) const NOT_FOUND: Self = Self(127);

    /// The exit status after an error of the client.
    pub(crate) fn of_error(error: &Error) -> Self {
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
            // Too many requests, or somebody removed the waiter from the queue. A later attempt may succeed.
            (429, _) | (_, Code::Cancelled) => Self::NOT_ACQUIRED,
            // The server accepts the request but cannot execute it now.
            (500..=599, _) => Self::UNREACHABLE,
            _ => Self::REFUSED,
        }
    }

    /// The exit status of a process that a signal ended: 128 and the signal's number, as in shells.
    pub(crate) fn of_signal(number: i32) -> Self {
        Self(128_u8.wrapping_add(u8::try_from(number).unwrap_or_default()))
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(ExitStatus(status): ExitStatus) -> Self {
        status.into()
    }
}

/// Why the program ends early: the exit status, and the message.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: ExitStatus,
    pub(crate) error: anyhow::Error,
    /// What the user can do about it, if that is known.
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
        let (status, hint) = (ExitStatus::of_error(&error), hint(error.code()));
        Self { hint, ..Self::new(status, error) }
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        let status = match &error {
            LockError::Failed { source, .. } | LockError::Unreachable { source, .. } => {
                ExitStatus::of_error(source)
            }
            // Nothing was held yet, so a later attempt may succeed.
            LockError::AlreadyHeld { .. }
            | LockError::Lost { .. }
            | LockError::NotInTime { .. } => ExitStatus::NOT_ACQUIRED,
            _ => ExitStatus::UNREACHABLE,
        };
        let hint = hint(error.code());
        Self { hint, ..Self::new(status, error) }
    }
}

/// What the user can do after a refusal with this code.
fn hint(code: Option<Code>) -> Option<&'static str> {
    (code == Some(Code::UnknownSemaphore))
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
    fn the_exit_status_of_a_refusal_shows_whether_another_attempt_makes_sense() {
        for (code, status, expected) in [
            (Code::UnknownSemaphore, 400, ExitStatus::REFUSED),
            (Code::LockHierarchyViolation, 409, ExitStatus::REFUSED),
            (Code::Cancelled, 409, ExitStatus::NOT_ACQUIRED),
            (Code::TooManyPeers, 429, ExitStatus::NOT_ACQUIRED),
            (Code::Internal, 500, ExitStatus::UNREACHABLE),
            (Code::NotReady, 503, ExitStatus::UNREACHABLE),
            (Code::StoreFailed, 503, ExitStatus::UNREACHABLE),
        ] {
            assert_eq!(ExitStatus::of_refusal(code, status), expected, "{code}");
        }
    }
}

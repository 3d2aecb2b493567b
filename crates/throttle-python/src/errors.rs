//! Converts errors of the client into the exceptions of the package, which are defined in Python.

use pyo3::{call::PyCallArgs, exceptions::PyRuntimeError, prelude::*, types::PyModule};
use throttle_client::{Code, Error, LockError, Lost};

use crate::operation::IntoException;

impl IntoException for Error {
    fn into_exception(self, py: Python<'_>) -> PyErr {
        let text = with_causes(&self);
        match self {
            Self::Refused { code: Code::UnknownPeer, detail, .. } => {
                new_exception(py, "UnknownPeer", (detail,))
            }
            Self::Refused { code, detail, status, .. } => {
                new_exception(py, "Refused", (detail, code.as_str(), status))
            }
            Self::InvalidName { .. } => new_exception(py, "Refused", (text, "invalid_name")),
            Self::InvalidUrl { .. } => new_exception(py, "Refused", (text, "invalid_url")),
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Transport { .. }
            | Self::UnexpectedAnswer { .. } => new_exception(py, "Unreachable", (text,)),
            _ => new_exception(py, "Refused", (text, "invalid_setting")),
        }
    }
}

impl IntoException for LockError {
    fn into_exception(self, py: Python<'_>) -> PyErr {
        let text = with_causes(&self);
        match self {
            Self::AlreadyHeld { .. } => new_exception(py, "Refused", (text, "already_held")),
            Self::Failed {
                source: Error::Transport { .. } | Error::UnexpectedAnswer { .. },
                ..
            } => new_exception(py, "Unreachable", (text,)),
            // With the message of the server only, as in version 0.5.
            Self::Failed { source, .. } => source.into_exception(py),
            Self::Lost { lost, .. } => new_exception(py, "LockLost", (text, reason_name(lost))),
            Self::NotInTime { .. } => new_exception(py, "Timeout", (text,)),
            // The time is over, and whether the lock is free is unknown.
            Self::Unreachable { source: Error::Timeout { .. }, .. } => {
                new_exception(py, "NoAnswer", (text,))
            }
            _ => new_exception(py, "Unreachable", (text,)),
        }
    }
}

/// The peer is closed, or belongs to the parent of this process.
pub(crate) struct PeerUnavailable;

impl IntoException for PeerUnavailable {
    fn into_exception(self, _: Python<'_>) -> PyErr {
        PyRuntimeError::new_err("the peer belongs to the parent of this process, or is closed")
    }
}

/// The reason of a loss: a name for programs, and a sentence for people.
pub(crate) fn describe_loss(lost: Lost) -> (&'static str, String) {
    (reason_name(lost), lost.to_string())
}

/// The reason for a lock or a peer of the parent of this process.
pub(crate) fn held_by_parent() -> (&'static str, String) {
    ("held_by_parent", "it belongs to the parent of this process".to_owned())
}

/// The reason for a release that the server has not confirmed, and that continues in the background.
pub(crate) fn unconfirmed() -> (&'static str, String) {
    ("unconfirmed", "the server has not confirmed the release yet".to_owned())
}

fn reason_name(lost: Lost) -> &'static str {
    match lost {
        Lost::Closed => "closed",
        Lost::Refused(_) => "refused",
        Lost::Revoked => "revoked",
        Lost::Unreachable => "unreachable",
        _ => "expired",
    }
}

/// Makes an exception of `throttle_client.errors`.
fn new_exception<'py>(py: Python<'py>, class: &str, arguments: impl PyCallArgs<'py>) -> PyErr {
    let exception = PyModule::import(py, "throttle_client.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1(arguments));
    exception.map_or_else(|error| error, PyErr::from_value)
}

/// The messages of the error and its causes, except for causes that the text already contains.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let sentence = error.to_string();
        if !text.contains(&sentence) {
            text += &format!(": {sentence}");
        }
        cause = error.source();
    }
    text
}

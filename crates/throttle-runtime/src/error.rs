//! The error of an operation.

/// Why an operation failed. Unless it is [`Error::Failed`] or [`Error::StoreFailed`], the operation changed no lock and
/// no queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The pending lock was cancelled while the request waited for it.
    #[error("cancelled")]
    Cancelled,
    /// The service has failed, and its state can no longer be trusted: see [`Handle::failed`].
    ///
    /// [`Handle::failed`]: crate::Handle::failed
    #[error("the service is broken")]
    Failed,
    /// The state machine refused the operation.
    #[error(transparent)]
    Refused(#[from] throttle_core::Error),
    /// The store has failed or is closed, so what the answer would show may not survive. Whether the operation
    /// took effect is not known; it may be repeated at a server that runs.
    #[error("the change could not be made durable")]
    StoreFailed,
}

impl Error {
    /// The stable name of this error. Programs may branch on it, and on nothing else.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Failed => "internal",
            Self::Refused(error) => error.code(),
            Self::StoreFailed => "store_failed",
        }
    }
}

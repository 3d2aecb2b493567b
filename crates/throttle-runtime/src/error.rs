//! Why an operation fails.

/// Why an operation failed. Unless it is [`Error::Failed`], it left every lock
/// and every queue as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The pending lock was cancelled while the request waited for it.
    #[error("cancelled")]
    Cancelled,
    /// The service is broken, and nobody knows how the locks stand: see [`Handle::failed`].
    ///
    /// [`Handle::failed`]: crate::Handle::failed
    #[error("the service is broken")]
    Failed,
    /// The state machine refused.
    #[error(transparent)]
    Refused(#[from] throttle_core::Error),
}

impl Error {
    /// The stable name of this error, the only thing that programs may branch on.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Failed => "internal",
            Self::Refused(error) => error.code(),
        }
    }
}

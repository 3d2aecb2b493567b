//! Why an operation fails.

/// Why an operation failed. It left every lock and every queue as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The pending lock was cancelled while the request waited for it.
    #[error("cancelled")]
    Cancelled,
    /// The state machine refused.
    #[error(transparent)]
    Refused(#[from] throttle_core::Error),
}

impl Error {
    /// The stable name of this error, the only thing that programs may branch on.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Refused(error) => error.code(),
        }
    }
}

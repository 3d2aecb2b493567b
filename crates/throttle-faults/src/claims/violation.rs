//! A broken promise, with the rule that it breaks.

use std::fmt::{self, Display, Formatter};

/// What the server promises.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// The counts held never exceed the maximum.
    Exclusion,
    /// At the end, nothing is held that nobody holds, and no peer is left.
    Leak,
    /// What was acknowledged or shown is still true afterwards, also after a restart.
    Memory,
    /// First come, first served.
    Order,
    /// The fencing tokens of a semaphore increase from grant to grant, and stay the same while the lock is held.
    Tokens,
}

/// A promise that was broken, with the events that prove it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The promise.
    pub rule: Rule,
    /// What happened.
    pub message: String,
}

impl Violation {
    /// A violation of this rule.
    pub fn new(rule: Rule, message: impl Into<String>) -> Self {
        Self { rule, message: message.into() }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exclusion => "exclusion",
            Self::Leak => "leak",
            Self::Memory => "memory",
            Self::Order => "order",
            Self::Tokens => "tokens",
        })
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.message)
    }
}

impl std::error::Error for Violation {}

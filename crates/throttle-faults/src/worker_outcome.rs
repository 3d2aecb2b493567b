//! How an attempt to work under a lock ends, in one form for all clients.

use std::fmt::{self, Display, Formatter};

/// The kinds of ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OutcomeKind {
    /// The client failed in a manner that it does not document.
    Failed,
    /// The lock was lost, and the client says so.
    Lost,
    /// The server refused.
    Refused,
    /// The lock was held until it was given back.
    Released,
    /// The lock was not free in time.
    Timeout,
    /// The server could not be reached in time, or something else answers in its place.
    Unreachable,
}

/// The end of an attempt, and what the client says about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkerOutcome {
    /// How it ended.
    pub kind: OutcomeKind,
    /// The message of the client.
    pub detail: String,
}

impl OutcomeKind {
    const WORDS: [(&str, Self); 6] = [
        ("failed", Self::Failed),
        ("lost", Self::Lost),
        ("refused", Self::Refused),
        ("released", Self::Released),
        ("timeout", Self::Timeout),
        ("unreachable", Self::Unreachable),
    ];

    /// What the exit status of `throttlectl` means.
    pub fn from_throttlectl_status(status: Option<i32>) -> Self {
        match status {
            Some(0) => Self::Released,
            Some(69) => Self::Unreachable,
            Some(75) => Self::Timeout,
            Some(76) => Self::Lost,
            Some(78) => Self::Refused,
            _ => Self::Failed,
        }
    }
}

impl WorkerOutcome {
    /// An end with the message of the client, of which line breaks are left out.
    pub fn new(kind: OutcomeKind, detail: &str) -> Self {
        Self { kind, detail: detail.split_whitespace().collect::<Vec<_>>().join(" ") }
    }

    /// Reads what [`Display`] writes; `None` if the first word is no end.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, detail) = line.split_once(' ').unwrap_or((line, ""));
        let (_, kind) = OutcomeKind::WORDS.into_iter().find(|(known, _)| *known == word)?;
        Some(Self::new(kind, detail))
    }
}

impl Display for WorkerOutcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = OutcomeKind::WORDS
            .into_iter()
            .find(|(_, kind)| *kind == self.kind)
            .map(|(word, _)| word);
        f.write_str(word.expect("each end has a word"))?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " {}", self.detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_one_line_that_can_be_read_again() {
        let outcome =
            WorkerOutcome::new(OutcomeKind::Unreachable, "no answer\n  from http://host ");
        assert_eq!(outcome.to_string(), "unreachable no answer from http://host");
        assert_eq!(WorkerOutcome::parse(&outcome.to_string()), Some(outcome));
        assert_eq!(
            WorkerOutcome::parse("released"),
            Some(WorkerOutcome::new(OutcomeKind::Released, ""))
        );
        assert_eq!(WorkerOutcome::parse("perhaps released"), None);
    }
}

//! The outcome of one round of a worker, in the same form for all clients.

use std::fmt::{self, Display, Formatter};

/// The kinds of outcomes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OutcomeKind {
    /// The client failed in an undocumented way.
    Failed,
    /// The client reported that the lock was lost.
    Lost,
    /// The server refused the request.
    Refused,
    /// The lock was held until its release.
    Released,
    /// The lock was not granted in time.
    Timeout,
    /// The server did not answer in time, or something else answered in its place.
    Unreachable,
}

/// The outcome of one round of a worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkerOutcome {
    /// The kind of the outcome.
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

    /// The outcome for an exit status of `throttlectl`.
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
    /// An outcome with the message of the client. Line breaks become spaces.
    pub fn new(kind: OutcomeKind, detail: &str) -> Self {
        Self { kind, detail: detail.split_whitespace().collect::<Vec<_>>().join(" ") }
    }

    /// Parses the output of [`Display`]. `None` if the first word is not the name of a kind.
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
        f.write_str(word.expect("each kind has a word"))?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " {}", self.detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_one_line_that_can_be_parsed() {
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

//! How an attempt to work under a lock ends, in one form for all clients.

use std::fmt::{self, Display, Formatter};

/// The kinds of ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
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
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The message of the client.
    pub detail: String,
}

impl End {
    const WORDS: [(&str, Self); 6] = [
        ("failed", Self::Failed),
        ("lost", Self::Lost),
        ("refused", Self::Refused),
        ("released", Self::Released),
        ("timeout", Self::Timeout),
        ("unreachable", Self::Unreachable),
    ];

    /// What the exit status of `throttlectl` means.
    pub fn of_status(status: Option<i32>) -> Self {
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

impl Outcome {
    /// An end with the message of the client, of which line breaks are left out.
    pub fn new(end: End, detail: &str) -> Self {
        Self { end, detail: detail.split_whitespace().collect::<Vec<_>>().join(" ") }
    }

    /// Reads what [`Display`] writes; `None` if the first word is no end.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, detail) = line.split_once(' ').unwrap_or((line, ""));
        let (_, end) = End::WORDS.into_iter().find(|(known, _)| *known == word)?;
        Some(Self::new(end, detail))
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = End::WORDS.into_iter().find(|(_, end)| *end == self.end).map(|(word, _)| word);
        f.write_str(word.expect("each end has a word"))?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " {}", self.detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_one_line_that_can_be_read_again() {
        let outcome = Outcome::new(End::Unreachable, "no answer\n  from http://host ");
        assert_eq!(outcome.to_string(), "unreachable no answer from http://host");
        assert_eq!(Outcome::parse(&outcome.to_string()), Some(outcome));
        assert_eq!(Outcome::parse("released"), Some(Outcome::new(End::Released, "")));
        assert_eq!(Outcome::parse("perhaps released"), None);
    }
}

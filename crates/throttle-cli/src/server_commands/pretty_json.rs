//! Lays out JSON for people, token by token.
//!
//! Parsing into values would drop members that this version does not know, round numbers and sort members.

use std::fmt::Write as _;

use serde::de::IgnoredAny;

use crate::escape::controls_terminal;

/// Lays out JSON with a line for each member and each element.
///
/// Characters that would control a terminal become JSON escapes with the same meaning.
///
/// # Errors
///
/// If the text is not JSON.
pub(super) fn pretty(text: &str) -> Result<String, serde_json::Error> {
    let _: IgnoredAny = serde_json::from_str(text)?;
    let mut layout = Layout { text: String::with_capacity(text.len() * 2), depth: 0 };
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            space if space.is_ascii_whitespace() => {}
            '"' => layout.string(&mut characters),
            '{' | '[' => {
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                layout.text.push(character);
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => layout.text.push(end),
                    None => layout.open(),
                }
            }
            '}' | ']' => layout.close(character),
            ',' => {
                layout.text.push(',');
                layout.line();
            }
            ':' => layout.text.push_str(": "),
            other => layout.text.push(other),
        }
    }
    layout.text.push('\n');
    Ok(layout.text)
}

/// The text that is laid out so far.
struct Layout {
    text: String,
    depth: usize,
}

impl Layout {
    fn open(&mut self) {
        self.depth += 1;
        self.line();
    }

    fn close(&mut self, end: char) {
        self.depth = self.depth.saturating_sub(1);
        self.line();
        self.text.push(end);
    }

    fn line(&mut self) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n("  ", self.depth));
    }

    /// Copies the rest of a string after its first quote.
    fn string(&mut self, characters: &mut impl Iterator<Item = char>) {
        self.text.push('"');
        while let Some(character) = characters.next() {
            if controls_terminal(character) {
                // One escape is enough: all of these characters are below U+10000.
                let _ = write!(self.text, "\\u{:04x}", u32::from(character));
                continue;
            }
            self.text.push(character);
            match character {
                '"' => return,
                '\\' => self.text.extend(characters.next()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_stays_as_the_server_wrote_it() {
        for (text, expected) in [
            ("[]", "[]\n"),
            (" { } ", "{}\n"),
            ("5", "5\n"),
            (
                "[ {\"b\":1.50,\"a\":18446744073709551616}, [] ]",
                "[\n  {\n    \"b\": 1.50,\n    \"a\": 18446744073709551616\n  },\n  []\n]\n",
            ),
            (r#"{"a \"}":"\\","x":"{[,:"}"#, "{\n  \"a \\\"}\": \"\\\\\",\n  \"x\": \"{[,:\"\n}\n"),
            ("{\n\t\"a\"\r\n: 1 }", "{\n  \"a\": 1\n}\n"),
        ] {
            assert_eq!(pretty(text).unwrap(), expected);
        }
    }

    #[test]
    fn a_character_that_controls_a_terminal_is_escaped_and_means_the_same() {
        let text = "[\"a\u{9b}2J\u{202e}\"]";
        let laid_out = pretty(text).unwrap();
        assert_eq!(laid_out, "[\n  \"a\\u009b2J\\u202e\"\n]\n");
        let read = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap();
        assert_eq!(read(text), read(&laid_out));
    }

    #[test]
    fn text_that_is_not_json_is_an_error() {
        for text in ["", "<html>", "[1", "{\"a\":}", "[] []"] {
            assert!(pretty(text).is_err(), "{text}");
        }
    }
}

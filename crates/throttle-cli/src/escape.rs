//! Escapes text of other people, so that it cannot control the terminal.
//!
//! Names, labels and answers of proxies may contain any characters.

/// Replaces each character that would control a terminal by its escape, such as `\u{1b}`.
pub(crate) fn escape_for_terminal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if controls_terminal(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Whether a terminal reacts to the character instead of showing it: control characters, and those that
/// change the direction of text.
pub(crate) fn controls_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_control_a_terminal_are_escaped() {
        for (text, expected) in [
            ("käse \u{1f512}", "käse \u{1f512}"),
            ("a\x1b[2J\r\n\u{9b}", "a\\u{1b}[2J\\r\\n\\u{9b}"),
            ("a\u{202e}b\u{2067}\u{200f}", "a\\u{202e}b\\u{2067}\\u{200f}"),
        ] {
            assert_eq!(escape_for_terminal(text), expected);
        }
    }
}

//! Text of strangers, shown so that it cannot do anything to a terminal.
//!
//! Names and labels are any text, and what a proxy answers is, too.

/// Shows the characters that a terminal would obey.
pub(crate) fn escape_for_terminal(text: &str) -> String {
    let mut tame = String::with_capacity(text.len());
    for character in text.chars() {
        if controls_terminal(character) {
            tame.extend(character.escape_default());
        } else {
            tame.push(character);
        }
    }
    tame
}

/// Whether a terminal does something else with it than to show it: controls, and those that turn the
/// direction of what follows.
pub(crate) fn controls_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        for (text, expected) in [
            ("käse \u{1f512}", "käse \u{1f512}"),
            ("a\x1b[2J\r\n\u{9b}", "a\\u{1b}[2J\\r\\n\\u{9b}"),
            ("a\u{202e}b\u{2067}\u{200f}", "a\\u{202e}b\\u{2067}\\u{200f}"),
        ] {
            assert_eq!(escape_for_terminal(text), expected);
        }
    }
}

//! Percent-encoding, as paths and queries have it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The text that was encoded; `None` if it is not UTF-8, or has a `%` without two hexadecimal digits
/// behind it, which others may read differently.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut codes = text.split('%').skip(1).map(str::as_bytes);
    let are_complete = codes.all(|code| {
        matches!(code, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    });
    are_complete.then(|| percent_decode_str(text).decode_utf8().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_percent_encoded_utf_8_is_told_apart_from_text() {
        for (encoded, text) in
            [("", ""), ("A", "A"), ("%41%2f", "A/"), ("%C3%a4", "ä"), ("%25zz", "%zz")]
        {
            assert_eq!(decode(encoded).as_deref(), Some(text));
        }
        for malformed in
            ["%", "%%", "%4", "%zz", "%4g", "A%", "%41%", "%%41", "%ä", "%FF", "%C3%28"]
        {
            assert_eq!(decode(malformed), None, "{malformed}");
        }
    }
}

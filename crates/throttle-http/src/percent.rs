//! Percent-encoding in paths and queries.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use throttle_wire::Code;

use crate::refusal::Refusal;

/// Decodes a segment of a path.
pub(crate) fn decode_segment(segment: &str) -> Result<Cow<'_, str>, Refusal> {
    decode(segment)
        .ok_or_else(|| Refusal::new(Code::MalformedPath, "The path is not percent-encoded UTF-8."))
}

/// Decodes a text. `None` if it is not UTF-8, or has a `%` without two hexadecimal digits behind it, which
/// other decoders may read differently.
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
    fn only_percent_encoded_utf_8_is_decoded() {
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

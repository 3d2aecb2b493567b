//! The `Accept` header: which media type a client prefers.

use axum::http::{HeaderMap, header};

/// Whether the client names `media_type` and gives it at least the weight of plain text.
///
/// A client that accepts anything gets plain text, so `*/*` and `application/*` do not name a type. As in
/// RFC 9110, the weight of a type is that of the most specific range that fits it.
pub(crate) fn prefers(headers: &HeaderMap, media_type: &str) -> bool {
    let ranges = || {
        let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).map(range)
    };
    let weight = |name: &str| {
        ranges().find(|(range, _)| range.eq_ignore_ascii_case(name)).map(|(_, weight)| weight)
    };
    let plain = || ["text/plain", "text/*", "*/*"].into_iter().find_map(weight).unwrap_or(0.0);
    weight(media_type).is_some_and(|weight| weight > 0.0 && weight >= plain())
}

/// A media range and its weight from 0 to 1. An unreadable weight counts as 0.
fn range(element: &str) -> (&str, f32) {
    let mut parts = element.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default();
    let mut parameters = parts.filter_map(|parameter| parameter.split_once('='));
    let weight = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let weight = weight.map_or(Ok(1.0), |(_, weight)| weight.trim().parse());
    (range, weight.ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn gets_problem(lines: &[&'static str]) -> bool {
        let lines = lines.iter().map(|line| (header::ACCEPT, HeaderValue::from_static(line)));
        prefers(&HeaderMap::from_iter(lines), "application/problem+json")
    }

    #[test]
    fn a_type_must_be_named_to_be_preferred() {
        assert!(gets_problem(&["application/problem+json"]));
        assert!(gets_problem(&["Application/Problem+JSON; charset=utf-8"]));
        for other in ["", "*/*", "application/*", "application/json", "text/plain", "garbage"] {
            assert!(!gets_problem(&[other]), "{other}");
        }
        assert!(!gets_problem(&[]));
    }

    #[test]
    fn the_type_may_be_one_of_several_and_in_any_line() {
        assert!(gets_problem(&["application/json, application/problem+json"]));
        assert!(gets_problem(&["application/json", "application/problem+json"]));
        assert!(gets_problem(&["application/problem+json, */*;q=0.1"]));
        assert!(gets_problem(&["text/plain, application/problem+json"]));
    }

    #[test]
    fn weights_decide_between_the_type_and_plain_text() {
        assert!(!gets_problem(&["application/problem+json;q=0"]));
        assert!(!gets_problem(&["application/problem+json; Q=0.000"]));
        assert!(!gets_problem(&["application/problem+json;q=0.2, text/plain;q=0.8"]));
        assert!(!gets_problem(&["application/problem+json;q=0.2, text/*"]));
        assert!(gets_problem(&["application/problem+json;q=0.2, text/plain;q=0.1, */*"]));
        assert!(!gets_problem(&["application/problem+json;q=NaN"]));
        assert!(!gets_problem(&["application/problem+json;q=2"]));
    }
}

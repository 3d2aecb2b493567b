//! Protection from requests that a web page of another origin makes a browser send.
//!
//! A browser sends a `POST` for any page without asking the server first, if its content type is one of those
//! that forms have. A request that changes something is safe if it needs a body of JSON, or a method such as
//! `PUT`: the browser asks first, and gets no permission. Any other such handler must check the origin here.

use axum::http::{HeaderMap, header, request::Parts};

/// Whether a browser sends this request for a page of another server.
///
/// Only browsers send the headers that are checked here, and no page can change them.
pub(crate) fn is_foreign(head: &Parts) -> bool {
    if let Some(site) = value(&head.headers, "sec-fetch-site") {
        return !["same-origin", "none"].contains(&site);
    }
    value(&head.headers, header::ORIGIN.as_str()).is_some_and(|origin| {
        let host = value(&head.headers, header::HOST.as_str());
        let host = host.or_else(|| head.uri.authority().map(|authority| authority.as_str()));
        let of_origin = origin.split_once("://").map(|(_, host)| host);
        of_origin.zip(host).is_none_or(|(origin, host)| !origin.eq_ignore_ascii_case(host))
    })
}

/// The value of a header; empty if it is not text, which counts as an unknown value.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn foreign(headers: &[(&str, &str)]) -> bool {
        let request = Request::post("/admin/reload").header("host", "localhost:8000");
        let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
        is_foreign(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn requests_of_programs_and_of_our_own_pages_are_not_foreign() {
        assert!(!foreign(&[]));
        assert!(!foreign(&[("origin", "http://localhost:8000")]));
        assert!(!foreign(&[("origin", "https://LOCALHOST:8000")]));
        assert!(!foreign(&[("sec-fetch-site", "none")]));
        // A proxy may have changed the host, so the header of the browser counts.
        let headers = [("sec-fetch-site", "same-origin"), ("origin", "https://throttle.example")];
        assert!(!foreign(&headers));
    }

    #[test]
    fn requests_of_other_pages_are_foreign_whichever_header_the_browser_sends() {
        for origin in
            ["null", "", "http://localhost", "http://localhost:8001", "https://evil.example"]
        {
            assert!(foreign(&[("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "", "something new"] {
            let headers = [("sec-fetch-site", site), ("origin", "http://localhost:8000")];
            assert!(foreign(&headers), "{site}");
        }
    }
}

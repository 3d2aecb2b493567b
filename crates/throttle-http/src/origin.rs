//! Pages of others in the browser of somebody who can reach the server.
//!
//! A page may let its browser send a `POST` without asking anybody first, as long as it declares none
//! but the types of a form. So a request that changes something must need a body of JSON, or a method
//! such as `PUT`, for which a browser asks first and gets no permission; or it looks here.

use axum::http::{HeaderMap, header, request::Parts};

/// Whether a browser sends this request for a page that is not of this server.
///
/// Programs send none of the headers that tell. A page cannot change them.
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

/// The value of a header; what is not text is as good as a value that nobody knows.
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
    fn programs_and_pages_of_this_server_are_not_foreign() {
        assert!(!foreign(&[]));
        assert!(!foreign(&[("origin", "http://localhost:8000")]));
        assert!(!foreign(&[("origin", "https://LOCALHOST:8000")]));
        assert!(!foreign(&[("sec-fetch-site", "none")]));
        // A proxy may have changed the host; the browser knows better.
        let headers = [("sec-fetch-site", "same-origin"), ("origin", "https://throttle.example")];
        assert!(!foreign(&headers));
    }

    #[test]
    fn pages_of_others_are_foreign_whatever_the_browser_tells_of_them() {
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

//! The base URL of a server, and the URLs of its routes.
//!
//! The server may also be at a socket in the file system, `unix:/run/throttle.sock`. Requests to it have URLs
//! of `localhost`, and need an HTTP client of their own that connects to the socket.
//!
//! Names are percent-encoded here, because the `url` crate drops tabs and line breaks from a segment. Three
//! names cannot be segments of a path: the empty one, and `.` and `..`, which every URL library resolves as
//! steps in the tree of paths.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;

use crate::{Endpoint, Error, endpoint::Proxies};

/// All characters except those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The prefix of URLs with a socket.
const UNIX: &str = "unix:";

/// The base URL of a server. Its path ends with a slash.
#[derive(Clone)]
pub(crate) struct ServerUrl {
    /// Has no credentials.
    url: Url,
    /// The user name and the password in the URL. They are sent to this server only.
    credentials: Option<(String, Option<String>)>,
    endpoint: Endpoint,
    /// The socket of a server that is not reached by the network.
    socket: Option<PathBuf>,
}

impl ServerUrl {
    pub(crate) fn parse(text: &str, proxies: &Proxies) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::InvalidUrl {
            url: without_credentials(text),
            reason: reason.to_owned(),
        };
        if let Some(path) = text.strip_prefix(UNIX) {
            if path.is_empty() {
                return Err(invalid("it names no file"));
            }
            if cfg!(not(unix)) {
                return Err(invalid("on this system there are no such sockets"));
            }
            let url = Url::parse("http://localhost/").expect("the literal is a URL");
            let endpoint = Endpoint::new(text.to_owned(), None);
            return Ok(Self { url, credentials: None, endpoint, socket: Some(path.into()) });
        }
        let parsed = Url::parse(text).map_err(|error| error.to_string());
        let parsed = parsed.and_then(|url| match url.scheme() {
            "http" | "https" => Ok(url),
            _ => Err("its scheme is none of `http`, `https` and `unix`".to_owned()),
        });
        let mut url = parsed.map_err(|reason| invalid(&with_suggestion(reason, text)))?;
        if url.query().is_some() {
            return Err(invalid("it has a query"));
        }
        if url.fragment().is_some() {
            return Err(invalid("it has a fragment"));
        }
        let credentials = take_credentials(&mut url);
        let shown = url.as_str().trim_end_matches('/').to_owned();
        let endpoint = Endpoint::new(shown, proxies.proxy_of(&url));
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { url, credentials, endpoint, socket: None })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The user name and the password in the URL.
    pub(crate) fn credentials(&self) -> Option<(&str, Option<&str>)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password.as_deref()))
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The socket of a server that is not reached by the network.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The URL of a route whose path is `route`, without a leading slash.
    pub(crate) fn join(&self, route: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{route}", self.url.path()));
        url
    }

    /// The path of a route whose URL was made by [`join`](Self::join).
    pub(crate) fn route_of<'a>(&self, url: &'a Url) -> &'a str {
        url.path().strip_prefix(self.url.path()).expect("the URL was made for this server")
    }

    /// The URL of a route whose path is `route` followed by the name of a semaphore as its last segment.
    pub(crate) fn join_name(&self, route: &str, name: &str) -> Result<Url, Error> {
        self.join_names(route, &[name])
    }

    /// The URL of a route whose path is `route` followed by these names as segments.
    pub(crate) fn join_names(&self, route: &str, names: &[&str]) -> Result<Url, Error> {
        let mut path = route.to_owned();
        for &name in names {
            if matches!(name, "" | "." | "..") {
                return Err(Error::InvalidName { name: name.to_owned() });
            }
            path += "/";
            path.extend(utf8_percent_encode(name, RESERVED));
        }
        Ok(self.join(&path))
    }
}

/// Omits the credentials.
impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerUrl").field(&self.endpoint.url()).finish()
    }
}

/// Removes the user name and the password from a URL, and returns them decoded.
fn take_credentials(url: &mut Url) -> Option<(String, Option<String>)> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(url.username()), url.password().map(decoded));
    let failed = url.set_username("").is_err() || url.set_password(None).is_err();
    assert!(!failed, "credentials can be removed from a URL with a host");
    (!user.is_empty() || password.is_some()).then_some((user, password))
}

/// Adds the URL that was probably meant, if the text is a URL without a scheme.
fn with_suggestion(reason: String, text: &str) -> String {
    let scheme = if text.starts_with('/') { UNIX } else { "http://" };
    let meant = format!("{scheme}{text}");
    let is_url = !text.contains("//") && ServerUrl::parse(&meant, &Proxies::unknown()).is_ok();
    if is_url { format!("{reason}; did you mean {}?", without_credentials(&meant)) } else { reason }
}

/// A text that was meant as a URL, without what may be a password.
fn without_credentials(text: &str) -> String {
    let start = text.find("//").map_or(0, |slashes| slashes + 2);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |length| start + length);
    match text[start..end].rfind('@') {
        Some(at) => format!("{}***{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> ServerUrl {
        ServerUrl::parse(url, &Proxies::unknown()).unwrap()
    }

    #[test]
    fn a_base_url_means_the_same_with_and_without_a_slash_at_its_end() {
        for (bare, slashed) in [
            ("http://localhost:8000", "http://localhost:8000/"),
            ("https://host/throttle", "https://host/throttle/"),
            ("https://host/a%2Fb/c", "https://host/a%2Fb/c/"),
        ] {
            let expected = format!("{slashed}new_peer");
            assert_eq!(server(bare).join("new_peer").as_str(), expected);
            assert_eq!(server(slashed).join("new_peer").as_str(), expected);
        }
    }

    #[test]
    fn an_invalid_server_url_is_refused_with_the_reason() {
        let scheme = "its scheme is none of `http`, `https` and `unix`";
        let relative = "relative URL without a base";
        for (url, expected) in [
            ("", relative.to_owned()),
            #[cfg(unix)]
            ("/run/t.sock", format!("{relative}; did you mean unix:/run/t.sock?")),
            ("localhost", format!("{relative}; did you mean http://localhost?")),
            ("localhost:8000", format!("{scheme}; did you mean http://localhost:8000?")),
            ("127.0.0.1:8000/x", format!("{relative}; did you mean http://127.0.0.1:8000/x?")),
            ("ann:pw@host", format!("{scheme}; did you mean http://***@host?")),
            ("ftp://host/", scheme.to_owned()),
            ("unix:", "it names no file".to_owned()),
            ("http://host/?", "it has a query".to_owned()),
            ("http://host/?a=b", "it has a query".to_owned()),
            ("http://host/#", "it has a fragment".to_owned()),
            ("http://", "empty host".to_owned()),
        ] {
            let Err(Error::InvalidUrl { reason, .. }) = ServerUrl::parse(url, &Proxies::unknown())
            else {
                panic!("{url:?}")
            };
            assert_eq!(reason, expected, "{url:?}");
        }
    }

    #[test]
    fn a_name_is_exactly_one_segment_and_decodes_to_itself() {
        let every_ascii = (0_u8..128).map(char::from).map(String::from);
        let others = [
            "/&",
            "a/b/../c",
            "is_acquired",
            "%41",
            "%2e%2e",
            "%2E",
            "...",
            "a.",
            "./",
            "\\",
            "ä",
            "semaphore\u{1F512}",
            "a\tb\r\nc",
            "?block_for=1s",
            "#",
            " ",
            "\0",
            "\u{202e}",
        ];
        let server = server("http://host/throttle");
        for name in every_ascii.chain(others.map(str::to_owned)).filter(|name| name != ".") {
            let url = server.join_name("peers/42", &name).unwrap();
            let segments: Vec<_> = url.path().split('/').collect();
            assert_eq!(segments[..4], ["", "throttle", "peers", "42"], "{name:?}");
            assert_eq!(segments.len(), 5, "{name:?}");
            let decoded = percent_decode_str(segments[4]).decode_utf8().unwrap();
            assert_eq!(decoded, name);
            assert_eq!((url.query(), url.fragment()), (None, None), "{name:?}");
        }
    }

    #[test]
    fn a_name_that_no_path_can_carry_is_an_error_rather_than_another_request() {
        for name in ["", ".", ".."] {
            let result = server("http://host/").join_name("peers/42", name);
            assert!(matches!(result, Err(Error::InvalidName { name: it }) if it == name));
        }
    }

    #[test]
    fn credentials_are_taken_out_of_a_url_and_decoded() {
        for (url, expected) in [
            ("http://host/", None),
            ("http://ann@host/", Some(("ann", None))),
            ("http://ann:se%40cret@host/", Some(("ann", Some("se@cret")))),
            ("http://:secret@host/", Some(("", Some("secret")))),
        ] {
            let server = server(url);
            assert_eq!(server.credentials(), expected, "{url}");
            assert_eq!(server.endpoint().url(), "http://host");
            assert_eq!(server.join("health").as_str(), "http://host/health");
            let shown = format!("{server:?}");
            assert!(!shown.contains("cret") && !shown.contains("ann"), "{shown}");
        }
    }

    #[test]
    fn an_error_about_a_url_does_not_show_its_password() {
        for (url, expected) in [
            ("ftp://ann:secret@host/a@b", "ftp://***@host/a@b"),
            ("ann:secret@host:80", "***@host:80"),
            ("http://ann:se@cret@host:port", "http://***@host:port"),
            ("http://ann:secret@host?x", "http://***@host?x"),
        ] {
            let Err(Error::InvalidUrl { url: shown, reason }) =
                ServerUrl::parse(url, &Proxies::unknown())
            else {
                panic!("{url}")
            };
            assert_eq!(shown, expected);
            assert!(!reason.contains("cret"), "{reason}");
        }
    }
}

//! Where the server is, and the URLs of its routes.
//!
//! There may be several ways to it. URLs are made for the first one, and aimed at the one in use when
//! they are sent; a way on which a request fails is left for the next one.
//!
//! The server may also be at a socket in the file system, `unix:/run/throttle.sock`. Its URLs are those of
//! a host on this machine, and it takes an HTTP client of its own to send them by the socket.
//!
//! A name is percent-encoded here rather than by the `url` crate, which drops tabs and line breaks
//! from a segment. What remains out of reach are names that no segment can be: the empty one, and
//! those that every URL library resolves as steps in the tree of paths.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use crate::Error;

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Stands before the file of a socket.
const UNIX: &str = "unix:";

/// The URL of a server. Its path ends with a slash.
#[derive(Clone)]
pub(crate) struct Base {
    url: Url,
    /// The file of the socket by which the server is asked, if it is not asked by the network.
    socket: Option<PathBuf>,
}

impl Base {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::InvalidUrl { reason: reason.to_owned() };
        if let Some(path) = url.strip_prefix(UNIX) {
            if path.is_empty() {
                return Err(invalid("it names no file"));
            }
            if cfg!(not(unix)) {
                return Err(invalid("on this system there are no such sockets"));
            }
            let url = Url::parse("http://localhost/").expect("it is a URL");
            return Ok(Self { url, socket: Some(path.into()) });
        }
        let mut url = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("its scheme is none of `http`, `https` and `unix`"));
        }
        if url.query().is_some() {
            return Err(invalid("it has a query"));
        }
        if url.fragment().is_some() {
            return Err(invalid("it has a fragment"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { url, socket: None })
    }

    /// The URL of a route whose path is `route`, without a leading slash.
    pub(crate) fn join(&self, route: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{route}", self.url.path()));
        url
    }

    /// The URL of a route whose path is `route` and the name of a semaphore as its last segment.
    pub(crate) fn join_name(&self, route: &str, name: &str) -> Result<Url, Error> {
        if matches!(name, "" | "." | "..") {
            return Err(Error::InvalidName { name: name.to_owned() });
        }
        Ok(self.join(&format!("{route}/{}", utf8_percent_encode(name, RESERVED))))
    }
}

/// The ways to a server, at least one, and which of them is in use. Clones use the same one.
///
/// They are used in turn, and counted on: whoever finds the same number again knows that no other way was
/// used in between.
#[derive(Clone, Debug)]
pub(crate) struct Bases {
    all: Vec<Base>,
    current: Arc<AtomicUsize>,
}

impl Bases {
    pub(crate) fn parse<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let all = urls.into_iter().map(Base::parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { all, current: Arc::default() })
    }

    /// The one for which URLs are made.
    pub(crate) fn first(&self) -> &Base {
        &self.all[0]
    }

    /// The number of the one in use.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// The files of their sockets, in the order of their numbers.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = Option<&Path>> {
        self.all.iter().map(|base| base.socket.as_deref())
    }

    /// Turns a URL that was made for the first one into one of another number. Returns its index.
    pub(crate) fn aim(&self, url: &mut Url, number: usize) -> usize {
        let index = number % self.all.len();
        if index == 0 {
            return index;
        }
        let route = url.path().strip_prefix(self.first().url.path()).expect("it was made for it");
        let mut other = self.all[index].join(route);
        other.set_query(url.query());
        *url = other;
        index
    }

    /// Goes on to the next one, unless somebody else did so since `number` was in use.
    pub(crate) fn leave(&self, number: usize) {
        if self.all.len() == 1 {
            return;
        }
        let next = number.wrapping_add(1);
        // Whoever comes later finds another number, which is as good.
        let _ = self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The URL without a password.
impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = &self.socket {
            return f.debug_tuple("Base").field(&format!("{UNIX}{}", socket.display())).finish();
        }
        let mut url = self.url.clone();
        if url.password().is_some() {
            url.set_password(Some("***")).expect("a URL with a password can have another one");
        }
        f.debug_tuple("Base").field(&url.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;

    use super::*;

    fn base(url: &str) -> Base {
        Base::parse(url).unwrap()
    }

    #[test]
    fn a_base_means_the_same_with_and_without_a_slash_at_its_end() {
        for (bare, slashed) in [
            ("http://localhost:8000", "http://localhost:8000/"),
            ("https://host/throttle", "https://host/throttle/"),
            ("https://host/a%2Fb/c", "https://host/a%2Fb/c/"),
        ] {
            let expected = format!("{slashed}new_peer");
            assert_eq!(base(bare).join("new_peer").as_str(), expected);
            assert_eq!(base(slashed).join("new_peer").as_str(), expected);
        }
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused_with_the_reason() {
        for (url, expected) in [
            ("", "relative URL without a base"),
            ("localhost:8000", "its scheme is none of `http`, `https` and `unix`"),
            ("ftp://host/", "its scheme is none of `http`, `https` and `unix`"),
            ("unix:", "it names no file"),
            ("http://host/?", "it has a query"),
            ("http://host/?a=b", "it has a query"),
            ("http://host/#", "it has a fragment"),
            ("http://", "empty host"),
        ] {
            let Err(Error::InvalidUrl { reason }) = Base::parse(url) else { panic!("{url:?}") };
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
        let base = base("http://host/throttle");
        for name in every_ascii.chain(others.map(str::to_owned)).filter(|name| name != ".") {
            let url = base.join_name("peers/42", &name).unwrap();
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
            let result = base("http://host/").join_name("peers/42", name);
            assert!(matches!(result, Err(Error::InvalidName { name: it }) if it == name));
        }
    }

    #[test]
    fn a_url_can_be_aimed_at_another_way_with_its_names_and_its_query() {
        let bases = Bases::parse(["http://a:1/x", "https://b/y/z/"]).unwrap();
        let mut made = bases.first().join_name("peers/42", "a/b?").unwrap();
        made.set_query(Some("block_for=1s"));
        for (number, expected) in [
            (0, "http://a:1/x/peers/42/a%2Fb%3F?block_for=1s"),
            (1, "https://b/y/z/peers/42/a%2Fb%3F?block_for=1s"),
        ] {
            let mut url = made.clone();
            bases.aim(&mut url, number);
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn a_way_is_left_once_however_many_requests_fail_on_it() {
        let bases = Bases::parse(["http://a", "http://b", "http://c"]).unwrap();
        bases.leave(0);
        bases.leave(0);
        assert_eq!(bases.current(), 1);
        bases.leave(1);
        let clone = bases.clone();
        clone.leave(2);
        assert_eq!(bases.current(), 3, "the first one again, and not as if nothing had happened");
        let mut url = bases.first().join("health");
        bases.aim(&mut url, 3);
        assert_eq!(url.as_str(), "http://a/health");
        assert!(Bases::parse(["http://a", "b"]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_server_may_be_at_a_socket_in_the_file_system() {
        let bases = Bases::parse(["unix:/run/t.sock", "http://b/x"]).unwrap();
        let sockets = bases.sockets().collect::<Vec<_>>();
        assert_eq!(sockets, [Some(Path::new("/run/t.sock")), None]);
        let mut url = bases.first().join("health");
        assert_eq!(url.as_str(), "http://localhost/health");
        assert_eq!(bases.aim(&mut url, 1), 1);
        assert_eq!(url.as_str(), "http://b/x/health");
        assert!(format!("{:?}", bases.first()).contains("unix:/run/t.sock"));
    }

    #[test]
    fn a_password_does_not_get_into_logs() {
        let shown = format!("{:?}", base("http://ann:secret@host/"));
        assert!(shown.contains("ann") && !shown.contains("secret"), "{shown}");
    }
}

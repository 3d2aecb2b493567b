//! The table: which paths there are, and which methods each of them takes.
//!
//! A path is split at its slashes and looked up in one `match`. A router that knows patterns has to
//! copy what they capture into the request and to look it up there again; here it is borrowed.

use std::{borrow::Cow, ops::Range};

use throttle_wire::Code;

use crate::{percent, refusal::Refusal};

/// A route, whatever the path that led to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    Favicon,
    Health,
    Index,
    IsAcquired,
    Lock,
    Metrics,
    NewPeer,
    Peer,
    Peers,
    Ready,
    Reload,
    Remainder,
    Restore,
    Semaphore,
    Semaphores,
    /// Where all paths lead that lead nowhere else.
    Unknown,
    Version,
}

/// Where in a path its variable parts stand.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Captures {
    id: Range<usize>,
    name: Range<usize>,
}

/// A path with its variable parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    pub(crate) text: &'a str,
    pub(crate) captures: &'a Captures,
}

impl Route {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Version as usize + 1;

    /// Where a path leads. A peer is as good as peers; the name of a semaphore is a part of its own,
    /// whatever it is.
    pub(crate) fn find(path: &str) -> (Self, Captures) {
        let mut captures = Captures::default();
        let Some(path) = path.strip_prefix('/') else { return (Self::Unknown, captures) };
        let mut parts = path.split('/');
        // Where the next part stands, one slash behind the end of the part before.
        let behind = |end: usize, part: &str| end + 1..end + 1 + part.len();
        // No path has more parts than three.
        let parts = [parts.next(), parts.next(), parts.next(), parts.next()];
        let route = match parts {
            [Some(""), None, ..] => Self::Index,
            [Some("admin"), Some("reload"), None, _] => Self::Reload,
            [Some("favicon.ico"), None, ..] => Self::Favicon,
            [Some("health"), None, ..] => Self::Health,
            [Some("metrics"), None, ..] => Self::Metrics,
            [Some("new_peer"), None, ..] => Self::NewPeer,
            [Some("peers" | "peer"), None | Some(""), None, _] => Self::Peers,
            [Some(peers @ ("peers" | "peer")), Some(id), name, None] if !id.is_empty() => {
                captures.id = behind(1 + peers.len(), id);
                match name {
                    None => Self::Peer,
                    Some("") => Self::Unknown,
                    Some(name) => {
                        captures.name = behind(captures.id.end, name);
                        if name == "is_acquired" { Self::IsAcquired } else { Self::Lock }
                    }
                }
            }
            [Some("ready"), None, ..] => Self::Ready,
            [Some("remainder"), None, ..] => Self::Remainder,
            [Some("restore"), None, ..] => Self::Restore,
            [Some("semaphores"), None | Some(""), None, _] => Self::Semaphores,
            [Some(semaphores @ "semaphores"), Some(name), None, _] => {
                captures.name = behind(1 + semaphores.len(), name);
                Self::Semaphore
            }
            [Some("version"), None, ..] => Self::Version,
            _ => Self::Unknown,
        };
        (route, captures)
    }

    /// What the route is called in metrics and logs, and the methods that it takes.
    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Favicon => ("/favicon.ico", "GET,HEAD"),
            Self::Health => ("/health", "GET,HEAD"),
            Self::Index => ("/", "GET,HEAD"),
            // A semaphore may be called so too.
            Self::IsAcquired => ("/peers/{id}/is_acquired", "GET,HEAD,PUT,DELETE"),
            Self::Lock => ("/peers/{id}/{semaphore}", "PUT,DELETE"),
            Self::Metrics => ("/metrics", "GET,HEAD"),
            Self::NewPeer => ("/new_peer", "POST"),
            Self::Peer => ("/peers/{id}", "GET,HEAD,PUT,DELETE"),
            Self::Peers => ("/peers", "GET,HEAD"),
            Self::Ready => ("/ready", "GET,HEAD"),
            Self::Reload => ("/admin/reload", "POST"),
            Self::Remainder => ("/remainder", "GET,HEAD"),
            Self::Restore => ("/restore", "POST"),
            Self::Semaphore => ("/semaphores/{name}", "GET,HEAD"),
            Self::Semaphores => ("/semaphores", "GET,HEAD"),
            Self::Unknown => ("unknown", ""),
            Self::Version => ("/version", "GET,HEAD"),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        self.row().0
    }

    /// The methods that the route takes, as the header `Allow` lists them.
    pub(crate) const fn allowed(self) -> &'static str {
        self.row().1
    }
}

impl<'a> Path<'a> {
    /// The peer in the path; empty if there is none.
    pub(crate) fn id(self) -> Result<Cow<'a, str>, Refusal> {
        decoded(&self.text[self.captures.id.clone()])
    }

    /// The semaphore in the path; empty if there is none.
    pub(crate) fn name(self) -> Result<Cow<'a, str>, Refusal> {
        decoded(&self.text[self.captures.name.clone()])
    }
}

fn decoded(part: &str) -> Result<Cow<'_, str>, Refusal> {
    percent::decode(part)
        .ok_or_else(|| Refusal::new(Code::MalformedPath, "The path is not percent-encoded UTF-8."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_route_and_no_other_does() {
        for (path, route, id, name) in [
            ("/", Route::Index, "", ""),
            ("/peers", Route::Peers, "", ""),
            ("/peer/", Route::Peers, "", ""),
            ("/peers/7", Route::Peer, "7", ""),
            ("/peer/7/A", Route::Lock, "7", "A"),
            ("/peers/7/is_acquired", Route::IsAcquired, "7", "is_acquired"),
            ("/peers/7/%2F%26", Route::Lock, "7", "%2F%26"),
            ("/peers/peers/peers", Route::Lock, "peers", "peers"),
            ("/semaphores", Route::Semaphores, "", ""),
            ("/semaphores/", Route::Semaphores, "", ""),
            ("/semaphores/A", Route::Semaphore, "", "A"),
            ("/admin/reload", Route::Reload, "", ""),
        ] {
            let (found, captures) = Route::find(path);
            let captured = (&path[captures.id], &path[captures.name]);
            assert_eq!((found, captured), (route, (id, name)), "{path}");
        }
        for path in [
            "",
            "//",
            "/health/",
            "//health",
            "/Health",
            "/admin",
            "/admin/",
            "/admin/reload/",
            "/peers//",
            "/peers//A",
            "/peers/7/",
            "/peers/7/A/",
            "/peers/7/A/B",
            "/peers/7/A/B/C",
            "/semaphores/A/",
            "/semaphores//",
            "/new_peer/7",
            "/new%5Fpeer",
            "*",
            "health",
        ] {
            assert_eq!(Route::find(path).0, Route::Unknown, "{path}");
        }
    }
}

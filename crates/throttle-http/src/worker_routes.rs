//! The table of the workers' routes: peers, locks, what a peer needs to come back, and the question of a resource
//! whether the worker that writes to it still holds its lock.
//!
//! These routes carry nearly all requests, so they do not go through axum's router: a path is split at its
//! slashes and looked up in one `match`, and all handlers are branches of one future, which need no allocation
//! of their own. In a trial with the same handlers behind axum's router the server answered 0.87 of the
//! heartbeats a second, and 0.91 of the pairs of acquire and release (15 interleaved rounds on two processors,
//! shared with the load). A heartbeat took 5,800 instructions more, of 16,000. Routes that need no speed belong
//! in `operator_routes`.
//!
//! A row of the table says everything about a route. The enum, the look-up, the dispatch to handlers, the
//! header `Allow`, and the names in metrics and logs are made from it.

use axum::{
    http::{Method, Uri},
    response::Response,
};

use crate::{
    locks,
    metrics::RequestGroup,
    peers,
    refusal::Refusal,
    semaphores,
    worker_request::{Captures, RequestBody, WorkerRequest},
};

/// The methods that have handlers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    Delete,
    /// `GET` or `HEAD`.
    Get,
    Post,
    Put,
    Other,
}

macro_rules! worker_routes {
    ($(
        $route:ident $name:literal
        [$($segment:pat),+] $(=> $($capture:ident)+)?
        { $($verb:ident: $handler:path),+ }
    )+) => {
        /// A row of the table.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum WorkerRoute {
            $($route,)+
        }

        impl WorkerRoute {
            /// All rows, in the order of the table.
            pub(crate) const ALL: &[Self] = &[$(Self::$route),+];

            /// The first row that fits the path.
            pub(crate) fn find(path: &str) -> Option<(Self, Captures<'_>)> {
                let mut segments = [""; LONGEST];
                let mut count = 0;
                for segment in path.strip_prefix('/')?.split('/') {
                    *segments.get_mut(count).filter(|_| !segment.is_empty())? = segment;
                    count += 1;
                }
                match segments[..count] {
                    $([$($segment),+] => {
                        let captures = Captures { $($($capture,)+)? ..Captures::default() };
                        Some((Self::$route, captures))
                    })+
                    _ => None,
                }
            }

            /// The name of the route in metrics and logs.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$route => $name,)+
                }
            }

            /// The methods of the route, as the header `Allow` lists them.
            const fn allow(self) -> &'static str {
                match self {
                    $(Self::$route => allow!($($verb)+),)+
                }
            }
        }

        /// Leads a request to the handler of its route and method.
        pub(crate) async fn handle(
            route: WorkerRoute,
            request: WorkerRequest<'_, impl RequestBody>,
        ) -> Result<Response, Refusal> {
            match (route, Verb::of(&request.head.method)) {
                $($((WorkerRoute::$route, Verb::$verb) => $handler(request).await,)+)+
                _ => Err(Refusal::method_not_allowed(Some(route.allow()))),
            }
        }
    };
}

macro_rules! allow {
    (Delete) => { "DELETE" };
    (Get) => { "GET,HEAD" };
    (Post) => { "POST" };
    (Put) => { "PUT" };
    ($verb:ident $($more:ident)+) => { concat!(allow!($verb), ",", allow!($($more)+)) };
}

// Name in metrics and logs, segments, captured segments, and a handler for each method. The first row that fits a
// path counts.
worker_routes! {
    // A semaphore may have this name, too.
    Fencing "/semaphores/{name}/fencing/{token}"
        ["semaphores", semaphore, "fencing", token] => semaphore token
        { Get: semaphores::fencing }
    NewPeer "/new_peer"
        ["new_peer"]
        { Post: peers::new_peer }
    Peer "/peers/{id}"
        ["peers" | "peer", id] => id
        { Get: peers::show, Put: peers::heartbeat, Delete: peers::remove }
    // A semaphore may have this name, too.
    IsAcquired "/peers/{id}/is_acquired"
        ["peers" | "peer", id, semaphore @ "is_acquired"] => id semaphore
        { Get: peers::is_acquired, Put: locks::acquire, Delete: locks::release }
    Lock "/peers/{id}/{semaphore}"
        ["peers" | "peer", id, semaphore] => id semaphore
        { Put: locks::acquire, Delete: locks::release }
    Remainder "/remainder"
        ["remainder"]
        { Get: semaphores::remainder }
    Restore "/restore"
        ["restore"]
        { Post: peers::restore }
}

/// The most segments of a path in the table.
const LONGEST: usize = 4;

impl WorkerRoute {
    /// The group of a request in the metrics.
    pub(crate) fn group(self, method: &Method, uri: &Uri) -> RequestGroup {
        match self {
            Self::IsAcquired | Self::Lock if method == Method::PUT => {
                let query = uri.query().unwrap_or_default();
                if query.contains("block_for=") {
                    RequestGroup::Wait
                } else {
                    RequestGroup::Acquire
                }
            }
            Self::IsAcquired | Self::Lock if method == Method::DELETE => RequestGroup::Release,
            Self::Peer if method == Method::PUT => RequestGroup::Heartbeat,
            Self::Fencing => RequestGroup::Fencing,
            Self::IsAcquired
            | Self::Lock
            | Self::NewPeer
            | Self::Peer
            | Self::Remainder
            | Self::Restore => RequestGroup::Peer,
        }
    }
}

impl Verb {
    fn of(method: &Method) -> Self {
        match *method {
            Method::DELETE => Self::Delete,
            Method::GET | Method::HEAD => Self::Get,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_name() {
        for &route in WorkerRoute::ALL {
            let found = WorkerRoute::find(route.name()).map(|(found, _)| found);
            assert_eq!(found, Some(route), "{}", route.name());
        }
    }

    #[test]
    fn a_path_leads_to_its_route_and_to_no_other() {
        for (path, route, id, semaphore, token) in [
            ("/peers/7", WorkerRoute::Peer, "7", "", ""),
            ("/peer/7/A", WorkerRoute::Lock, "7", "A", ""),
            ("/peers/7/is_acquired", WorkerRoute::IsAcquired, "7", "is_acquired", ""),
            ("/peers/7/%2F%26", WorkerRoute::Lock, "7", "%2F%26", ""),
            ("/peers/peers/peers", WorkerRoute::Lock, "peers", "peers", ""),
            ("/new_peer", WorkerRoute::NewPeer, "", "", ""),
            ("/semaphores/A/fencing/7", WorkerRoute::Fencing, "", "A", "7"),
            ("/semaphores/fencing/fencing/7", WorkerRoute::Fencing, "", "fencing", "7"),
        ] {
            let captures = Captures { id, semaphore, token };
            assert_eq!(WorkerRoute::find(path), Some((route, captures)), "{path}");
        }
        for path in [
            "",
            "/",
            "//",
            "/health",
            "/peers",
            "/peers/",
            "/peers//",
            "/peers//A",
            "/peers/7/",
            "/peers/7/A/",
            "/peers/7/A/B",
            "/peers/7/A/B/C",
            "/semaphores",
            "/semaphores/A",
            "/semaphores/A/fencing",
            "/semaphores/A/fencing/",
            "/semaphores//fencing/7",
            "/semaphores/A/fencing/7/8",
            "/semaphores/A/tokens/7",
            "/new_peer/",
            "/new_peer/7",
            "/new%5Fpeer",
            "/Restore",
            "*",
            "restore",
        ] {
            assert_eq!(WorkerRoute::find(path), None, "{path}");
        }
    }

    #[test]
    fn an_acquire_that_may_wait_has_a_group_of_its_own() {
        let group = |path: &'static str| {
            let uri = Uri::from_static(path);
            let (route, _) = WorkerRoute::find(uri.path()).unwrap();
            route.group(&Method::PUT, &uri)
        };
        assert_eq!(group("/peers/5/A"), RequestGroup::Acquire);
        assert_eq!(group("/peers/5/is_acquired?expires_in=1m"), RequestGroup::Acquire);
        assert_eq!(group("/peers/5/A?expires_in=1m&block_for=10s"), RequestGroup::Wait);
        assert_eq!(group("/peers/5"), RequestGroup::Heartbeat);
    }
}

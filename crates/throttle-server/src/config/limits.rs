//! `[limits]`: how much there may be of everything.

use serde::Serialize;
use tracing::warn;

use super::value::{Auto, Number, Span, Timeout};

section! {
    /// Everything has a limit, so that no client can take the service away from the others.
    #[derive(Serialize)]
    pub struct Limits {
        options {
            /// The most peers at a time. One takes about 210 bytes, and up to 10 kB with labels. Beyond it
            /// POST /new_peer and POST /restore are answered 429 `too_many_peers`. Takes effect on reload.
            peers: Number<1> = Number::new(2_000_000),
            /// The most peers that may wait for one semaphore at a time. Beyond it a lock that is
            /// not free is answered 429 `too_many_waiters`. Takes effect on reload.
            waiters: Number = Number::new(1_000_000),
            /// The most open connections. Each takes about 15 kB while its request waits, and up to 290 kB
            /// with the largest head and body; --check-config adds that up. Beyond it no client is refused:
            /// the connection that has been idle for longest is closed in favour of the new one. "auto" is
            /// 10000, or fewer if the operating system allows fewer open files.
            connections: Auto<1> = Auto::AUTO,
            /// The most requests that may wait for a lock as long as they ask for. Beyond it a request keeps
            /// its place in the queue, but is answered 202 within a second and must be repeated. Never more
            /// than one less than limits.connections, even if a larger number is given, so that a peer that
            /// holds locks always finds a connection. "auto" is seven eighths of limits.connections. Takes
            /// effect on reload.
            open_waits: Auto = Auto::AUTO,
            /// How long a client may take to send the head of a request, again for its body, and to read any
            /// part of the answer. After that the connection is closed, also if it is idle between requests.
            /// The default is longer than clients usually keep idle connections, so that a connection is not
            /// closed at the moment when its client uses it again. It does not limit how long a request waits
            /// for a lock.
            request_timeout: Timeout = Timeout::from_secs(120),
            /// The largest head of a request, in bytes. The longest name must fit into it, and is up to
            /// three times as long if it is percent-encoded. Beyond it: 431 `head_too_large`, as for more
            /// than 100 header fields, a limit that cannot be changed.
            head: Number<8_192> = Number::new(64 * 1024),
            /// The largest body of a request, in bytes. Beyond it: 413 `body_too_large`.
            body: Number<1> = Number::new(64 * 1024),
            /// The longest name of a semaphore, in bytes. Beyond it: 422 `name_too_long`.
            name_length: Number<1> = Number::new(1024),
            /// The longest lease. Beyond it: 422 `expires_in_too_long`.
            expires_in: Span = Span::from_secs(30 * 24 * 60 * 60),
            /// The longest wait of one request. Beyond it: 422 `block_for_too_long`.
            block_for: Span = Span::from_secs(24 * 60 * 60),
            /// The most labels of a peer. Beyond it: 422 `labels_too_large`.
            labels: Number = Number::new(16),
            /// The longest name and the longest value of a label, in bytes. Beyond it: 422
            /// `labels_too_large`.
            label_length: Number = Number::new(256),
            /// The most answers longer than 32 KiB at a time: lists of peers and of semaphores. One takes
            /// up to 400 kB while its client reads it. Beyond it: 429 `too_many_listings`.
            listings: Number = Number::new(64),
            /// The most memory for the labels of all peers, in bytes: their text, and 64 bytes for each
            /// label. Beyond it a new peer with labels is answered 429 `too_many_label_bytes`; one without
            /// labels is created. Takes effect on reload.
            label_bytes: Number = Number::new(256 * 1024 * 1024),
        }
        tables {}
    }
}

impl Limits {
    /// The limits that the routes enforce.
    pub fn http(&self) -> throttle_http::RequestLimits {
        throttle_http::RequestLimits {
            body: self.body.get() as usize,
            name_length: self.name_length.get() as usize,
            expires_in: self.expires_in.get(),
            block_for: self.block_for.get(),
            labels: self.labels.get() as usize,
            label_length: self.label_length.get() as usize,
            listings: self.listings.get() as usize,
        }
    }

    /// How many requests may wait for as long as they want, out of so many `connections`: at most one less.
    pub(crate) fn open_waits(&self, connections: usize) -> usize {
        let most = connections.saturating_sub(1);
        let Some(wanted) = self.open_waits.get().map(|wanted| wanted as usize) else {
            return (connections - connections / 8).min(most);
        };
        if wanted > most {
            warn!(
                limits.open_waits = wanted,
                connections,
                open_waits = most,
                "requests that wait must leave connections to those that do not"
            );
        }
        wanted.min(most)
    }
}

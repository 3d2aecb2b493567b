//! `[limits]`: how much of everything there may be.

use serde::Serialize;
use tracing::warn;

use super::value::{Auto, Number, Span, Timeout};

section! {
    /// Everything has a limit, so that no client can take the service away from the others.
    #[derive(Serialize)]
    pub struct Limits {
        options {
            /// The most peers there may be at a time. One takes about 210 bytes, and up
            /// to 10 kB with labels. Beyond it POST /new_peer and POST /restore are answered 429
            /// `too_many_peers`. Takes effect on reload.
            peers: Number<1> = Number::new(2_000_000),
            /// The most peers that may wait for one semaphore at a time. Beyond it a lock that is
            /// not free is answered 429 `too_many_waiters`. Takes effect on reload.
            waiters: Number = Number::new(1_000_000),
            /// The most open connections. Each blocked request is one and takes about 15 kB, and one with
            /// the largest head and body up to 290 kB; --check-config adds it up. Beyond it nobody is
            /// turned away: the connection that has been idle for longest is closed in favour of the
            /// new one. "auto" is 10000, or as many as the operating system allows open files for, if
            /// these are fewer.
            connections: Auto<1> = Auto::AUTO,
            /// The most requests that wait for their locks for as long as they want. Those beyond it
            /// keep their place in the queue, but are answered 202 within a second and have to ask
            /// again. At most one less than limits.connections count, whatever is written here, so that
            /// there is always a connection for those who hold locks and do not wait. "auto" is seven
            /// eighths of limits.connections. Takes effect on reload.
            open_waits: Auto = Auto::AUTO,
            /// How long a client may take to send the head of a request, again for its body, and to
            /// take in any part of the answer. Then the connection is closed, as it is when it was idle for that long between requests.
            /// The default is longer than clients usually keep idle connections, so that none is
            /// closed in the instant in which its client uses it again. It does not limit how
            /// long a request waits for its lock.
            request_timeout: Timeout = Timeout::from_secs(120),
            /// The largest head of a request, in bytes. The longest name has to fit into it, three
            /// times as long where it is percent-encoded. Beyond it, or with more than 100 header
            /// fields, which is no option: 431 `head_too_large`.
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
            /// The most answers longer than 32 KiB that are written at a time, be they lists of peers
            /// or of semaphores. One costs about 150 kB while its client reads it. Beyond it: 429
            /// `too_many_listings`.
            listings: Number = Number::new(64),
            /// The most memory that the labels of all peers may take, in bytes: their text, and 64 bytes
            /// for each label. Beyond it a peer with labels is answered 429 `too_many_label_bytes`;
            /// peers without labels are let in. Takes effect on reload.
            label_bytes: Number = Number::new(256 * 1024 * 1024),
        }
        tables {}
    }
}

impl Limits {
    /// Those that the routes watch over.
    pub fn http(&self) -> throttle_http::Limits {
        throttle_http::Limits {
            body: self.body.get() as usize,
            name_length: self.name_length.get() as usize,
            expires_in: self.expires_in.get(),
            block_for: self.block_for.get(),
            labels: self.labels.get() as usize,
            label_length: self.label_length.get() as usize,
            listings: self.listings.get() as usize,
        }
    }

    /// How many requests may wait for as long as they want if there are so many `connections`: one
    /// less at most.
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

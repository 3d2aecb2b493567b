//! What is known about a peer that is not lost.

use std::collections::{BTreeMap, BTreeSet};

use throttle_wire::PeerId;

use crate::clock::Time;

/// A peer that the server knew when it last answered.
#[derive(Debug)]
pub(super) struct LivePeer {
    pub(super) peer: PeerId,
    pub(super) server_view: ServerView,
    /// When the request was sent whose answer last renewed the lease.
    pub(super) lease_start: Time,
    /// Whether the server confirmed the peer to this process. `false` after a resume.
    pub(super) is_confirmed: bool,
    /// Answers to requests sent before this instant do not count: the server may have sent them before it
    /// forgot the peer.
    pub(super) valid_from: Time,
    /// Whether the last answer left open if the server forgot the peer or somebody removed it.
    pub(super) loss_is_ambiguous: bool,
    /// When the next heartbeat is due.
    pub(super) next_heartbeat: Time,
    /// Whether to send a heartbeat even if the peer sends none by itself.
    pub(super) heartbeat_requested: bool,
    /// The number of heartbeats without an answer since the last answer.
    pub(super) unanswered: u32,
    /// How often the timeout of a heartbeat was doubled because no answer came in time.
    pub(super) timeout_doublings: u32,
    pub(super) held: BTreeMap<String, u64>,
    /// Resumed locks that have no [`Lock`](crate::Lock) yet.
    pub(super) unclaimed: BTreeSet<String>,
}

/// What the server knows about a peer, as far as is known here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ServerView {
    /// It has the peer with other locks than a restore reported.
    Disputed,
    /// It has forgotten the peer, which must be restored.
    Forgotten,
    /// It has the peer and its locks.
    Known,
}

impl LivePeer {
    pub(super) fn new(
        peer: PeerId,
        server_view: ServerView,
        lease_start: Time,
        next_heartbeat: Time,
    ) -> Self {
        Self {
            peer,
            server_view,
            lease_start,
            is_confirmed: false,
            valid_from: lease_start,
            loss_is_ambiguous: false,
            next_heartbeat,
            heartbeat_requested: false,
            unanswered: 0,
            timeout_doublings: 0,
            held: BTreeMap::new(),
            unclaimed: BTreeSet::new(),
        }
    }
}

//! What is known of a peer that has not been lost.

use std::collections::{BTreeMap, BTreeSet};

use throttle_wire::PeerId;

use crate::clock::Time;

/// A peer that the server knew when it was last heard of.
#[derive(Debug)]
pub(super) struct LivePeer {
    pub(super) peer: PeerId,
    pub(super) server_view: ServerView,
    /// When the last request was sent by whose answer the lease began anew.
    pub(super) lease_start: Time,
    /// Whether that answer arrived here. If not, this is what somebody else said.
    pub(super) is_confirmed: bool,
    /// What was sent before this instant may have been answered before the server forgot the peer.
    pub(super) valid_from: Time,
    /// Whether the last answer left open if the server forgot the peer or somebody removed it.
    pub(super) loss_is_ambiguous: bool,
    /// When to show the next sign of life.
    pub(super) next_heartbeat: Time,
    /// Whether one is wanted also if none are shown by themselves.
    pub(super) heartbeat_requested: bool,
    /// Signs of life since then that were not answered.
    pub(super) unanswered: u32,
    /// How often the time for an answer has been doubled, for none came.
    pub(super) timeout_doublings: u32,
    pub(super) held: BTreeMap<String, u64>,
    /// Those of them that were taken over, and that nobody has asked for here.
    pub(super) unclaimed: BTreeSet<String>,
}

/// What the server knows of a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ServerView {
    /// It has the peer, but with other locks than it was told.
    Disputed,
    /// Nothing. It has to be told.
    Forgotten,
    /// The peer and its locks.
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

//! What is known of a peer that has not been lost.

use std::collections::{BTreeMap, BTreeSet};

use throttle_wire::PeerId;

use crate::clock::Time;

/// A peer that the server knew when it was last heard of.
#[derive(Debug)]
pub(super) struct Living {
    pub(super) peer: PeerId,
    pub(super) standing: Standing,
    /// When the last request was sent by whose answer the lease began anew.
    pub(super) sent: Time,
    /// Whether that answer arrived here. If not, this is what somebody else said.
    pub(super) is_confirmed: bool,
    /// What was sent before this instant may have been answered before the server forgot the peer.
    pub(super) valid_from: Time,
    /// Whether the last answer left open if the server forgot the peer or somebody removed it.
    pub(super) is_doubted: bool,
    /// When to show the next sign of life.
    pub(super) next: Time,
    /// Whether one is wanted also if none are shown by themselves.
    pub(super) is_wanted: bool,
    /// Signs of life since then that were not answered.
    pub(super) failures: u32,
    /// How often the time for an answer has been doubled, for none came.
    pub(super) patience: u32,
    pub(super) held: BTreeMap<String, u64>,
    /// Those of them that were taken over, and that nobody has asked for here.
    pub(super) unclaimed: BTreeSet<String>,
}

/// What the server knows of a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// It has the peer, but with other locks than it was told.
    Disputed,
    /// Nothing. It has to be told.
    Forgotten,
    /// The peer and its locks.
    Known,
}

impl Living {
    pub(super) fn new(peer: PeerId, standing: Standing, sent: Time, next: Time) -> Self {
        Self {
            peer,
            standing,
            sent,
            is_confirmed: false,
            valid_from: sent,
            is_doubted: false,
            next,
            is_wanted: false,
            failures: 0,
            patience: 0,
            held: BTreeMap::new(),
            unclaimed: BTreeSet::new(),
        }
    }
}

//! The operations of the scenarios, as each kind of server is asked for them over HTTP.

use super::{LONG, etcd};
use crate::http::{Answer, Request};

/// What a request of a scenario does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    /// Creates a peer.
    NewPeer,
    /// Renews the lease of a peer.
    Heartbeat,
    /// Acquires one of a semaphore, which is free.
    Acquire(&'static str),
    /// Asks for a semaphore that another peer holds.
    Queue(&'static str),
    /// Releases a semaphore, or leaves its queue.
    Release(&'static str),
    /// Removes a peer.
    RemovePeer,
}

/// The interface of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    /// Ours, and the old one's.
    Throttle,
    /// etcd's JSON gateway.
    Etcd,
}

impl Dialect {
    /// Writes the request for an operation by `peer`, which uses `connection` throughout.
    pub(crate) fn write(
        self,
        operation: Operation,
        connection: usize,
        peer: u64,
        request: &mut Request,
    ) {
        match self {
            Self::Throttle => match operation {
                Operation::NewPeer => request.new_peer(LONG),
                Operation::Heartbeat => request.heartbeat(peer, LONG),
                Operation::Acquire(semaphore) | Operation::Queue(semaphore) => {
                    request.acquire(peer, semaphore, "");
                }
                Operation::Release(semaphore) => request.release(peer, semaphore),
                Operation::RemovePeer => request.remove_peer(peer),
            },
            Self::Etcd => etcd::write(operation, connection, peer, request),
        }
    }

    /// Checks that an operation succeeded. Returns the id of a new peer.
    pub(crate) fn read(
        self,
        operation: Operation,
        answer: Answer<'_>,
    ) -> anyhow::Result<Option<u64>> {
        match (self, operation) {
            (Self::Throttle, Operation::NewPeer) => answer.expect(&[200])?.integer().map(Some),
            (Self::Throttle, Operation::Queue(_)) => answer.expect(&[202]).map(|_| None),
            (Self::Throttle, _) => answer.expect(&[200]).map(|_| None),
            (Self::Etcd, operation) => etcd::read(operation, answer),
        }
    }
}

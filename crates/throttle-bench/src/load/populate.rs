//! Creates and removes the peers among which something else is measured.

use std::time::{Duration, Instant};

use super::{Dialect, LONG, Operation};
use crate::{
    clock,
    engine::{Engine, Load, Times},
    http::{Answer, Request},
};

/// The leases of the peers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lease {
    Long,
    /// Long, for peers with as many labels as the default limits allow.
    LongWithLabels,
    /// All leases end at this instant, give or take the time until a request arrives.
    Until(Instant),
}

/// Creates peers over all connections. Each acquires one of `lock`, or is queued for it. Returns their ids.
pub(crate) fn populate(
    engine: &mut Engine,
    peers: usize,
    lease: Lease,
    lock: Option<&str>,
) -> anyhow::Result<Vec<u64>> {
    let newcomers = vec![None; engine.len()];
    let mut load = Populate { missing: peers, lease, lock, newcomers, ids: Vec::new() };
    engine.run(&mut load)?;
    Ok(load.ids)
}

/// Creates a peer for each connection. Returns their ids by connection.
pub(crate) fn peers_of_connections(
    engine: &mut Engine,
    dialect: Dialect,
) -> anyhow::Result<Vec<u64>> {
    let mut load = PeersOfConnections { dialect, ids: vec![None; engine.len()] };
    engine.run(&mut load)?;
    Ok(load.ids.into_iter().flatten().collect())
}

struct PeersOfConnections {
    dialect: Dialect,
    ids: Vec<Option<u64>>,
}

impl Load for PeersOfConnections {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        self.dialect.write(Operation::NewPeer, connection, 0, request);
        self.ids[connection].is_none()
    }

    fn answer(&mut self, connection: usize, answer: Answer<'_>, _: Times) -> anyhow::Result<()> {
        self.ids[connection] = self.dialect.read(Operation::NewPeer, answer)?;
        Ok(())
    }
}

/// Removes peers over all connections.
pub(crate) fn remove_peers(engine: &mut Engine, peers: Vec<u64>) -> anyhow::Result<()> {
    engine.run(&mut RemovePeers(peers))
}

struct RemovePeers(Vec<u64>);

impl Load for RemovePeers {
    fn request(&mut self, _: usize, request: &mut Request) -> bool {
        let peer = self.0.pop();
        peer.inspect(|peer| request.remove_peer(*peer)).is_some()
    }

    fn answer(&mut self, _: usize, answer: Answer<'_>, _: Times) -> anyhow::Result<()> {
        answer.expect(&[200]).map(drop)
    }
}

struct Populate<'a> {
    missing: usize,
    lease: Lease,
    lock: Option<&'a str>,
    /// By connection, the peer that has not asked for its lock yet.
    newcomers: Vec<Option<u64>>,
    ids: Vec<u64>,
}

impl Load for Populate<'_> {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        if let (Some(peer), Some(lock)) = (self.newcomers[connection], self.lock) {
            request.acquire(peer, lock, "");
            return true;
        }
        if self.missing == 0 {
            return false;
        }
        self.missing -= 1;
        match self.lease {
            Lease::Long => request.new_peer(LONG),
            Lease::LongWithLabels => request.new_peer_with_labels(LONG, 16, 256),
            Lease::Until(end) => {
                let left =
                    end.saturating_duration_since(clock::now()).max(Duration::from_micros(1));
                request.new_peer(&humantime::format_duration(left).to_string());
            }
        }
        true
    }

    fn answer(&mut self, connection: usize, answer: Answer<'_>, _: Times) -> anyhow::Result<()> {
        if self.newcomers[connection].take().is_some() {
            answer.expect(&[200, 202])?;
            return Ok(());
        }
        let id = answer.expect(&[200])?.integer()?;
        self.ids.push(id);
        self.newcomers[connection] = self.lock.map(|_| id);
        Ok(())
    }
}

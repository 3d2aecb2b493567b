//! Serves a long queue of a mutex: many open requests, in strict order.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{BLOCKING, LONG, MUTEX, exclusion::ExclusionCheck};
use crate::{
    clock,
    engine::{Engine, Load, Times},
    http::{Answer, Request},
};

/// Creates peers that queue for the mutex, each after the one before has its place. The first one holds the
/// mutex. Returns the peers in the order of the queue.
pub(crate) fn queue_up(server: std::net::SocketAddr, peers: usize) -> anyhow::Result<Vec<u64>> {
    let mut queue = QueueUp { missing: peers, newcomer: None, peers: Vec::new() };
    Engine::connect(server, 1)?.run(&mut queue)?;
    Ok(queue.peers)
}

struct QueueUp {
    missing: usize,
    newcomer: Option<u64>,
    peers: Vec<u64>,
}

impl Load for QueueUp {
    fn request(&mut self, _: usize, request: &mut Request) -> bool {
        match self.newcomer {
            Some(peer) => request.acquire(peer, MUTEX, ""),
            None if self.missing == 0 => return false,
            None => request.new_peer(LONG),
        }
        true
    }

    fn answer(&mut self, _: usize, answer: Answer<'_>, _: Times) -> anyhow::Result<()> {
        if let Some(peer) = self.newcomer.take() {
            let statuses: &[_] = if self.peers.is_empty() { &[200] } else { &[202] };
            answer.expect(statuses)?;
            self.peers.push(peer);
            self.missing -= 1;
        } else {
            self.newcomer = Some(answer.expect(&[200])?.integer()?);
        }
        Ok(())
    }
}

/// A load of peers that queue in the order of their connections and are served one after the other.
///
/// The first connection holds the lock. It sends health requests until all others have had the time to wait,
/// calls `all_wait`, and releases the lock.
pub(crate) struct Serve<'a> {
    peers: Vec<u64>,
    exclusion: ExclusionCheck,
    /// By connection, whether its open request asks for the lock.
    is_waiting: Vec<bool>,
    rested: Option<usize>,
    start: Instant,
    all_wait: Option<&'a mut dyn FnMut()>,
    released: Option<Instant>,
    last_grant: Instant,
}

impl<'a> Serve<'a> {
    pub(crate) fn new(peers: &[u64], all_wait: &'a mut dyn FnMut()) -> Self {
        let start = clock::now();
        Self {
            peers: peers.to_vec(),
            exclusion: ExclusionCheck::default(),
            is_waiting: vec![false; peers.len()],
            rested: None,
            start,
            all_wait: Some(all_wait),
            released: None,
            last_grant: start,
        }
    }

    /// Grants a second, from the first release on.
    pub(crate) fn rate(&self) -> f64 {
        let start = self.released.unwrap_or(self.start);
        (self.peers.len() - 1) as f64 / self.last_grant.duration_since(start).as_secs_f64()
    }
}

impl Load for Serve<'_> {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        let peer = self.peers[connection];
        if connection == 0 {
            if self.released.is_some() {
                return false;
            }
            let arrival = ARRIVAL_TIME * u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
            if clock::now().duration_since(self.start) < arrival {
                request.health();
                return true;
            }
            if let Some(all_wait) = self.all_wait.take() {
                all_wait();
            }
            self.released = Some(clock::now());
            request.release(peer, MUTEX);
        } else if self.is_waiting[connection] {
            if self.rested.take_if(|rested| *rested == connection).is_none() {
                return false;
            }
            self.is_waiting[connection] = false;
            self.exclusion.release();
            request.release(peer, MUTEX);
        } else if self.released.is_none() {
            self.is_waiting[connection] = true;
            self.exclusion.note_request(connection);
            request.acquire(peer, MUTEX, BLOCKING);
        } else {
            return false;
        }
        true
    }

    fn answer(
        &mut self,
        connection: usize,
        answer: Answer<'_>,
        Times { answered, .. }: Times,
    ) -> anyhow::Result<()> {
        answer.expect(&[200])?;
        if self.is_waiting[connection] {
            ensure!(self.released.is_some(), "{connection} was granted a lock that was held");
            // All places in the queue are known, so no peer may overtake another one.
            self.exclusion.grant(connection, 0, answered)?;
            self.last_grant = answered;
        }
        Ok(())
    }

    fn next_ready(&mut self) -> Option<usize> {
        self.rested = self.exclusion.rested_holder(clock::now());
        self.rested
    }

    fn must_poll(&self) -> bool {
        self.exclusion.is_held()
    }
}

/// How long the server takes to receive one of many requests, with a reserve.
const ARRIVAL_TIME: Duration = Duration::from_micros(200);

//! A long queue in front of a mutex is served: so many open requests, in strict order.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{BLOCKING, LONG, MUTEX, exclusion::ExclusionCheck};
use crate::{
    clock,
    engine::{Engine, Load, Times},
    http::{Answer, Request},
};

/// Lets peers stand in line for the mutex one after the other, each when the one before has its place
/// for sure. The first one holds it then. Returns them in this order.
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

/// A load of peers that stand in line, in the order of their connections, and are served.
///
/// The first connection holds the lock. It releases it when everybody waits: it asks how the server
/// is, for a while, and `all_wait` is called.
pub(crate) struct Serve<'a> {
    peers: Vec<u64>,
    exclusion: ExclusionCheck,
    /// By connection.
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

    /// Peers served in one second, from the first release on.
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
            let settling = ARRIVAL_TIME * u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
            if clock::now().duration_since(self.start) < settling {
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
            // They stand in line for sure, so nobody may overtake anybody.
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

/// How long it takes for a request to have arrived, among many, with time to spare.
const ARRIVAL_TIME: Duration = Duration::from_micros(200);

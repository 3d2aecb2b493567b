//! Peers contend for a mutex: each waits for it with an open request, releases it, and asks again.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Deserialize;

use super::{BLOCKING, Latencies, MUTEX, exclusion::ExclusionCheck};
use crate::{
    clock,
    engine::{Load, Times},
    http::{Answer, Request},
};

/// A load of peers that contend for a mutex, and its measurements.
#[derive(Debug)]
pub(crate) struct Contend {
    peers: Vec<u64>,
    exclusion: ExclusionCheck,
    /// By connection, whether its open request asks for the lock. Otherwise it is a release.
    asks: Vec<bool>,
    /// The connection that may release the lock now.
    rested: Option<usize>,
    end: Instant,
    is_over: bool,
    first_release: Option<Instant>,
    last_grant: Instant,
    /// When the lock was last released, if somebody waits for it.
    released: Option<Instant>,
    checks_tokens: bool,
    /// The number of grants by which a waiter may be overtaken.
    slack: u64,
    /// The last fencing token.
    token: u64,
    /// From sending a release to the answer of the next holder.
    pub(crate) hand_overs: Latencies,
}

impl Contend {
    /// Contends for `time`, with one of these peers for each connection.
    ///
    /// `checks_tokens`: whether fencing tokens have to grow from grant to grant. This detects a lock that is
    /// granted twice however fast it is released. `checks_order`: whether a request must not overtake one
    /// that was sent long before it. That gives false alarms if the server's threads share
    /// processors with others: a paused thread may hold a request back while others get hundreds of grants.
    pub(crate) fn new(
        peers: &[u64],
        time: Duration,
        checks_tokens: bool,
        checks_order: bool,
    ) -> Self {
        let start = clock::now();
        Self {
            peers: peers.to_vec(),
            exclusion: ExclusionCheck::new(FIRST_REST),
            asks: vec![false; peers.len()],
            rested: None,
            end: start + time,
            is_over: false,
            first_release: None,
            last_grant: start,
            released: None,
            checks_tokens,
            slack: if checks_order { SLACK.min(peers.len() as u64 / 2).max(1) } else { u64::MAX },
            token: 0,
            hand_overs: Latencies::new(),
        }
    }

    /// Grants a second, from the first release on.
    pub(crate) fn rate(&self) -> f64 {
        let start = self.first_release.unwrap_or(self.last_grant);
        let seconds = self.last_grant.saturating_duration_since(start).as_secs_f64();
        self.exclusion.grants().saturating_sub(1) as f64 / seconds
    }
}

impl Load for Contend {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        let peer = self.peers[connection];
        if self.asks[connection] {
            if self.rested.take_if(|rested| *rested == connection).is_none() {
                return false;
            }
            self.asks[connection] = false;
            let now = clock::now();
            self.released = self.exclusion.release().then_some(now);
            self.first_release.get_or_insert(now);
            request.release(peer, MUTEX);
        } else if self.is_over {
            return false;
        } else {
            self.asks[connection] = true;
            self.exclusion.note_request(connection);
            request.acquire(peer, MUTEX, BLOCKING);
        }
        true
    }

    fn answer(
        &mut self,
        connection: usize,
        answer: Answer<'_>,
        Times { answered, .. }: Times,
    ) -> anyhow::Result<()> {
        let answer = answer.expect(&[200])?;
        if self.asks[connection] {
            self.exclusion.grant(connection, self.slack, answered)?;
            let token = self.checks_tokens.then(|| fencing_token(answer.body)).flatten();
            ensure!(token.is_none_or(|token| token > self.token), "a token did not grow");
            self.token = token.unwrap_or(self.token);
            if let Some(released) = self.released.take() {
                self.hand_overs.record(answered.duration_since(released));
            }
            self.last_grant = answered;
            self.is_over |= answered >= self.end;
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

/// Long enough for all peers to ask, and for a faulty server to grant the lock twice.
const FIRST_REST: Duration = Duration::from_millis(20);
/// The number of grants by which a waiter may be overtaken, because requests that are in flight together may
/// arrive in another order.
const SLACK: u64 = 16;

/// The fencing token of an answer, if it has one.
fn fencing_token(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Token {
        fencing_token: u64,
    }
    serde_json::from_slice::<Token>(body).ok().map(|token| token.fencing_token)
}

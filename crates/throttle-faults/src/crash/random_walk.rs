//! Loads the server with peers that live at random: they queue, hold, shrink, release, expire and come back.
//!
//! Each walk has one peer at a time. After every restart and every request without an answer it looks at its peer
//! first, which tells the checker what became of it. Of removed peers it keeps some and tries to disturb them:
//! late requests must be refused, before and after the next restart.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::{
    event::{Answer, Lock, Request, Semaphore},
    raw_http::RawHttp,
    recorder::Recorder,
};

/// A series of peers, one after the other.
#[derive(Debug)]
pub(super) struct RandomWalk {
    recorder: Arc<Recorder>,
    http: RawHttp,
    random: StdRng,
    semaphores: &'static [Semaphore],
    /// The process of the server in which the peer was looked at.
    looked_at: usize,
    graves: Vec<Grave>,
}

/// A peer of a walk, as far as its client knows.
#[derive(Debug)]
struct OwnPeer {
    id: u64,
    lease: Duration,
    /// The number of its last request; zero if it numbers none.
    sequence: u64,
    is_numbered: bool,
    held: Vec<Lock>,
    pending: Option<Lock>,
    latest_token: Option<(&'static str, u64)>,
}

/// A peer that was removed or abandoned.
#[derive(Debug)]
struct Grave {
    peer: u64,
    /// The number with which it was removed.
    sequence: Option<u64>,
    /// The process in which this happened.
    process: usize,
    is_abandoned: bool,
}

/// How a peer goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    Continue,
    Gone,
}

impl RandomWalk {
    pub(super) fn new(
        recorder: Arc<Recorder>,
        semaphores: &'static [Semaphore],
        seed: u64,
    ) -> Self {
        let http = RawHttp::new(Arc::clone(&recorder));
        let random = StdRng::seed_from_u64(seed);
        Self { recorder, http, random, semaphores, looked_at: 0, graves: Vec::new() }
    }

    /// Lets one peer live after the other until the run ends, then removes all that is left.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        while !self.recorder.server().is_last {
            self.life().await?;
            self.visit_graves(false).await?;
        }
        self.visit_graves(true).await
    }

    async fn life(&mut self) -> anyhow::Result<()> {
        let is_short = self.random.random_bool(0.15);
        let lease = Duration::from_millis(if is_short { 600 } else { 30_000 });
        let Some(Answer::Created { peer }) = self.http.call(Request::NewPeer { lease }).await?
        else {
            return Ok(());
        };
        self.looked_at = self.http.process;
        let is_numbered = self.random.random_bool(0.8);
        let mut peer = OwnPeer {
            id: peer,
            lease,
            sequence: 0,
            is_numbered,
            held: Vec::new(),
            pending: None,
            latest_token: None,
        };
        loop {
            if self.looked_at != self.recorder.ready().await.process
                && self.look(&mut peer).await? == Next::Gone
            {
                return Ok(());
            }
            let is_last = self.recorder.server().is_last;
            let is_over = peer.pending.is_none() && self.random.random_bool(0.06);
            if is_last || is_over {
                return self.end(peer, is_last).await;
            }
            if self.step(&mut peer).await? == Next::Gone {
                return Ok(());
            }
            self.pause(4).await;
        }
    }

    /// One request that fits what the peer holds and awaits.
    async fn step(&mut self, peer: &mut OwnPeer) -> anyhow::Result<Next> {
        let dice = self.random.random_range(0..100_u32);
        if let Some(pending) = peer.pending.clone() {
            return match dice {
                0..5 => self.release(peer, &pending.semaphore).await,
                5..12 if pending.count > 1 => {
                    self.acquire(peer, &pending.semaphore, pending.count - 1).await
                }
                12..17 => self.stale_release(peer, &pending.semaphore).await,
                17..22 => self.look(peer).await,
                _ => self.acquire(peer, &pending.semaphore, pending.count).await,
            };
        }
        let Some(held) = peer.held.last().cloned() else {
            return match dice {
                0..8 => self.heartbeat(peer).await,
                8..16 => self.is_held(peer).await,
                _ => self.acquire_new(peer).await,
            };
        };
        let has_outer = peer.held.len() == 1 && held.semaphore == OUTER;
        match dice {
            0..8 => self.heartbeat(peer).await,
            8..16 => self.stale_release(peer, &held.semaphore).await,
            16..26 if held.count > 1 => self.acquire(peer, &held.semaphore, held.count - 1).await,
            26..34 => self.acquire(peer, &held.semaphore, held.count).await,
            34..38 => self.acquire(peer, &held.semaphore, held.count + 1).await,
            75..83 => self.is_held(peer).await,
            38..60 if has_outer => self.acquire_new(peer).await,
            60..75 => {
                self.pause(20).await;
                Ok(Next::Continue)
            }
            _ => self.release(peer, &held.semaphore).await,
        }
    }

    async fn acquire_new(&mut self, peer: &mut OwnPeer) -> anyhow::Result<Next> {
        let weights = self.semaphores.iter().filter(|it| peer.held.is_empty() || it.level == 0);
        let weights = weights.collect::<Vec<_>>();
        let semaphore = **weights.choose(&mut self.random).expect("one has the level zero");
        let count = self.random.random_range(1..=semaphore.max.min(4));
        self.acquire(peer, semaphore.name, count).await
    }

    async fn acquire(
        &mut self,
        peer: &mut OwnPeer,
        semaphore: &str,
        count: u64,
    ) -> anyhow::Result<Next> {
        let renews = self.random.random_bool(0.5);
        let blocks = self.random.random_bool(0.6);
        let block_for = Duration::from_millis(self.random.random_range(1..60));
        let request = Request::Acquire {
            peer: peer.id,
            semaphore: self.name(semaphore),
            count,
            lease: renews.then_some(peer.lease),
            block_for: blocks.then_some(block_for),
            sequence: peer.next_number(),
        };
        self.call(peer, request).await
    }

    async fn release(&mut self, peer: &mut OwnPeer, semaphore: &str) -> anyhow::Result<Next> {
        let sequence = peer.next_number();
        let semaphore = self.name(semaphore);
        self.call(peer, Request::Release { peer: peer.id, semaphore, sequence }).await
    }

    /// A release that was sent long ago and arrives now. It must be refused.
    async fn stale_release(&mut self, peer: &mut OwnPeer, semaphore: &str) -> anyhow::Result<Next> {
        if peer.sequence < 2 {
            return self.look(peer).await;
        }
        let sequence = Some(self.random.random_range(1..peer.sequence));
        let semaphore = self.name(semaphore);
        self.call(peer, Request::Release { peer: peer.id, semaphore, sequence }).await
    }

    /// A heartbeat; sometimes it changes the length of the lease.
    async fn heartbeat(&mut self, peer: &mut OwnPeer) -> anyhow::Result<Next> {
        if self.random.random_bool(0.3) {
            peer.lease = Duration::from_millis(self.random.random_range(5_000..40_000));
        }
        self.call(peer, Request::Heartbeat { peer: peer.id, lease: peer.lease }).await
    }

    /// Asks whether its latest lock is held, which it may have given up.
    async fn is_held(&mut self, peer: &mut OwnPeer) -> anyhow::Result<Next> {
        let Some((semaphore, token)) = peer.latest_token else { return self.look(peer).await };
        self.call(peer, Request::IsHeld { peer: peer.id, semaphore, token }).await
    }

    async fn look(&mut self, peer: &mut OwnPeer) -> anyhow::Result<Next> {
        self.call(peer, Request::Inspect { peer: peer.id }).await
    }

    /// Sends a request and remembers what its answer says about the peer. Looks at the peer if it has none.
    async fn call(&mut self, peer: &mut OwnPeer, request: Request) -> anyhow::Result<Next> {
        let mut request = request;
        let answer = loop {
            if let Some(answer) = self.http.call(request.clone()).await? {
                break answer;
            }
            request = Request::Inspect { peer: peer.id };
        };
        if matches!(request, Request::Inspect { .. }) {
            self.looked_at = self.http.process;
        }
        let next = peer.learn(&request, answer);
        if next == Next::Gone {
            let sequence = peer.is_numbered.then_some(peer.sequence);
            self.bury(peer.id, sequence, false);
        }
        Ok(next)
    }

    /// Removes the peer, or abandons it if its lease is short.
    async fn end(&mut self, mut peer: OwnPeer, is_last: bool) -> anyhow::Result<()> {
        let is_short = peer.lease < Duration::from_secs(1);
        if is_short && !is_last && self.random.random_bool(0.4) {
            self.bury(peer.id, None, true);
            return Ok(());
        }
        let sequence = peer.next_number();
        while self.http.call(Request::Remove { peer: peer.id, sequence }).await?.is_none() {}
        self.bury(peer.id, sequence, false);
        Ok(())
    }

    fn bury(&mut self, peer: u64, sequence: Option<u64>, is_abandoned: bool) {
        let process = self.http.process;
        self.graves.push(Grave { peer, sequence, process, is_abandoned });
    }

    /// Sends late requests of peers that are gone, at once or after the next restart, and forgets them.
    async fn visit_graves(&mut self, all: bool) -> anyhow::Result<()> {
        let mut kept = Vec::new();
        for grave in std::mem::take(&mut self.graves) {
            let is_old = grave.process != self.recorder.server().process;
            let waits = grave.is_abandoned || kept.len() < MAX_GRAVES;
            if !all && !is_old && waits {
                kept.push(grave);
            } else if self.visit(&grave).await? {
                self.recorder.checker(|checker| checker.forget(grave.peer));
            } else {
                kept.push(grave);
            }
        }
        self.graves.extend(kept);
        Ok(())
    }

    /// Returns whether the peer is certainly gone.
    async fn visit(&mut self, grave: &Grave) -> anyhow::Result<bool> {
        let Grave { peer, sequence, is_abandoned, .. } = *grave;
        if is_abandoned {
            let look = self.http.call(Request::Inspect { peer }).await?;
            let remove = self.http.call(Request::Remove { peer, sequence: None }).await?;
            return Ok(look.is_some() && remove.is_some());
        }
        let lease = Duration::from_secs(30);
        let dice = self.random.random_range(0..4_u32);
        let late = match sequence {
            Some(sequence) if sequence > 1 && dice < 2 => {
                Request::Restore { peer, lease, sequence: Some(sequence - 1) }
            }
            Some(sequence) if sequence > 1 && dice == 2 => {
                let semaphore = self.semaphores[0].name;
                Request::Release { peer, semaphore, sequence: Some(sequence - 1) }
            }
            _ => Request::Heartbeat { peer, lease },
        };
        Ok(self.http.call(late).await?.is_some())
    }

    fn name(&self, semaphore: &str) -> &'static str {
        let known = self.semaphores.iter().find(|it| it.name == semaphore);
        known.map_or(UNKNOWN, |semaphore| semaphore.name)
    }

    async fn pause(&mut self, up_to_ms: u64) {
        let pause = self.random.random_range(0..=up_to_ms);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

impl OwnPeer {
    fn next_number(&mut self) -> Option<u64> {
        if !self.is_numbered {
            return None;
        }
        self.sequence += 1;
        Some(self.sequence)
    }

    fn learn(&mut self, request: &Request, answer: Answer) -> Next {
        match (answer, request) {
            (Answer::Peer { held, pending }, _) => {
                self.held = held;
                self.pending = pending;
            }
            (Answer::Held { count, token }, Request::Acquire { semaphore, .. }) => {
                self.forget_lock(semaphore);
                self.latest_token = token.map(|token| (*semaphore, token));
                self.held.push(Lock { semaphore: (*semaphore).to_owned(), count, token });
            }
            (Answer::Pending { count }, Request::Acquire { semaphore, .. }) => {
                self.pending =
                    Some(Lock { semaphore: (*semaphore).to_owned(), count, token: None });
            }
            (Answer::Done, Request::Release { semaphore, .. }) => self.forget_lock(semaphore),
            (Answer::Refused { code }, _) if code == "unknown_peer" => return Next::Gone,
            _ => {}
        }
        Next::Continue
    }

    fn forget_lock(&mut self, semaphore: &str) {
        self.held.retain(|lock| lock.semaphore != semaphore);
        self.pending = self.pending.take().filter(|lock| lock.semaphore != semaphore);
    }
}

/// The semaphore of the higher level. While holding it, a peer may take one of the others.
pub(super) const OUTER: &str = "outer";

/// The server refuses it.
const UNKNOWN: &str = "unknown";

/// How many removed peers wait for the next restart.
const MAX_GRAVES: usize = 6;

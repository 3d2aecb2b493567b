//! Whether a peer still has what it believes to have: the decisions, without a clock or a socket.
//!
//! The server lets a lease begin when it receives a sign of life, which is not before it was sent.
//! So whoever counts from before they sent it, on a clock that goes on while the machine sleeps,
//! knows an instant until which the server certainly keeps their locks: the *local deadline*. A peer
//! that is not confirmed again until then has lost what it holds, whatever the reason, and says so
//! before the server can grant it to somebody else.
//!
//! What the server said before it forgot a peer says nothing about the server as it is now: a grant that was
//! sent for before that does not count, and a lease does not begin anew by it.
//!
//! [`Lease::poll`] tells what to do next; what was answered is told to [`Lease::renewed`],
//! [`Lease::restored`], [`Lease::inspected`], [`Lease::unknown_peer`], [`Lease::refused`] and
//! [`Lease::no_answer`]. In the manner of quinn-proto: what goes in and what comes out are values, so lost
//! answers, restarted servers and suspended machines are tested without any.

mod live_peer;
mod lost;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use throttle_wire::{Code, PeerId};

use self::live_peer::{LivePeer, ServerView};
pub use self::lost::Lost;
use crate::clock::Time;

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Show a sign of life, and wait for the answer no longer than this.
    Heartbeat { peer: PeerId, timeout: Duration },
    /// There is no peer, so there is nothing to do.
    Idle,
    /// Ask the server what the peer holds.
    Inspect { peer: PeerId, timeout: Duration },
    /// Everything is lost, as of now. Said once.
    Lost(Lost),
    /// Tell the server, which forgot the peer, what it holds.
    Restore { peer: PeerId, locks: BTreeMap<String, u64>, timeout: Duration },
    /// Nothing until this instant.
    Wait(Time),
}

/// What is known of a peer at the server.
#[derive(Debug)]
pub(crate) struct Lease {
    length: Duration,
    /// The longest time between two signs of life. `None` if the lease begins anew only with requests that
    /// have another purpose.
    heartbeat_interval: Option<Duration>,
    live: Option<LivePeer>,
}

impl Lease {
    /// A lease of `length` that nobody has yet. Signs of life are shown every third of it, or more
    /// often.
    pub(crate) fn new(length: Duration, heartbeat_interval: Option<Duration>) -> Self {
        let third = length / 3;
        let heartbeat_interval = Some(heartbeat_interval.map_or(third, |it| it.min(third)));
        Self { length, heartbeat_interval, live: None }
    }

    /// The same lease, for a peer that shows no signs of life by itself.
    pub(crate) fn without_heartbeats(self) -> Self {
        Self { heartbeat_interval: None, ..self }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// Whether signs of life are shown.
    pub(crate) fn sends_heartbeats(&self) -> bool {
        self.heartbeat_interval.is_some()
    }

    /// The peer, and whether the server has to be told of it again.
    pub(crate) fn peer(&self) -> Option<(PeerId, bool)> {
        self.live.as_ref().map(|live| (live.peer, live.server_view != ServerView::Known))
    }

    /// Whether somebody here has `semaphore` by `peer`.
    pub(crate) fn holds(&self, peer: PeerId, semaphore: &str) -> bool {
        self.live_peer(peer).is_some_and(|live| {
            live.held.contains_key(semaphore) && !live.unclaimed.contains(semaphore)
        })
    }

    /// Whether there is a peer that holds anything.
    pub(crate) fn holds_anything(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.held.is_empty())
    }

    /// Until when the server certainly keeps the locks of `peer`, if it ever confirmed them.
    ///
    /// A 64th of the lease is left out, for no two clocks go at the same rate.
    pub(crate) fn deadline(&self, peer: PeerId) -> Option<Time> {
        self.live_peer(peer).map(|live| self.deadline_after(live.lease_start))
    }

    /// Until when it is certain that the server keeps what the peer holds.
    pub(crate) fn certain_until(&self) -> Option<Time> {
        let live = self.live.as_ref().filter(|live| live.is_confirmed)?;
        Some(self.deadline_after(live.lease_start))
    }

    /// The server has created `peer` on a request sent at `sent`.
    pub(crate) fn created(&mut self, peer: PeerId, sent: Time, jitter: f64) {
        let next = self.next_heartbeat_after(sent, jitter);
        let live = LivePeer::new(peer, ServerView::Known, sent, next);
        self.live = Some(LivePeer { is_confirmed: true, ..live });
    }

    /// `peer` was there before, and holds `held` as far as is known. The server has to be told.
    pub(crate) fn resumed(&mut self, peer: PeerId, held: BTreeMap<String, u64>, now: Time) {
        let live = LivePeer::new(peer, ServerView::Forgotten, now, now);
        let unclaimed = held.keys().cloned().collect();
        self.live = Some(LivePeer { held, unclaimed, ..live });
    }

    /// A sign of life is wanted now.
    pub(crate) fn request_heartbeat(&mut self, now: Time) {
        if let Some(live) = &mut self.live {
            live.heartbeat_requested = true;
            live.next_heartbeat = live.next_heartbeat.min(now);
        }
    }

    /// The server has answered a request that let the lease of `peer` begin anew. Returns whether it did.
    pub(crate) fn renewed(&mut self, peer: PeerId, sent: Time, now: Time, jitter: f64) -> bool {
        let is_fast = now.since(sent) < self.length / FIRST_TIMEOUT_FRACTION;
        let next = self.next_heartbeat_after(sent, jitter);
        let Some(live) = self.live_peer_mut(peer) else { return false };
        if is_fast {
            live.timeout_doublings = 0;
        }
        if live.server_view != ServerView::Known || sent < live.valid_from {
            return false;
        }
        live.unanswered = 0;
        // An answer may be overtaken by that of a later request.
        if live.lease_start <= sent {
            live.lease_start = sent;
            live.is_confirmed = true;
            live.loss_is_ambiguous = false;
            live.heartbeat_requested = false;
            live.next_heartbeat = next;
        }
        true
    }

    /// The server has taken what it was told of `peer`. Returns whether that counts.
    pub(crate) fn restored(&mut self, peer: PeerId, sent: Time, now: Time, jitter: f64) -> bool {
        if let Some(live) = self.live_peer_mut(peer)
            && sent >= live.valid_from
        {
            live.server_view = ServerView::Known;
        }
        self.renewed(peer, sent, now, jitter)
    }

    /// The server has told that `peer` holds `held`. Returns why everything is lost, if it is: what the server
    /// does not confirm, somebody else may have.
    pub(crate) fn inspected(
        &mut self,
        peer: PeerId,
        sent: Time,
        now: Time,
        held: &BTreeMap<String, u64>,
    ) -> Option<Lost> {
        let live = self.live_peer_mut(peer)?;
        live.next_heartbeat = now;
        if live.server_view != ServerView::Disputed || sent < live.valid_from {
            return None;
        }
        let is_confirmed =
            |(name, count): (&String, &u64)| held.get(name).is_some_and(|told| count <= told);
        if live.held.iter().all(is_confirmed) {
            // To look at it was no sign of life, but one is due.
            live.server_view = ServerView::Known;
            live.heartbeat_requested = true;
            return None;
        }
        self.live = None;
        Some(Lost::Refused(Code::RestoreConflict))
    }

    /// `peer` was granted `count` of `semaphore` on a request sent at `sent`. Returns whether it counts:
    /// nothing is granted to whom is lost already, or by a server that has forgotten it since.
    #[must_use]
    pub(crate) fn granted(
        &mut self,
        peer: PeerId,
        semaphore: &str,
        count: u64,
        (sent, now): (Time, Time),
    ) -> bool {
        let is_safe = self.deadline(peer).is_some_and(|deadline| now < deadline);
        match self.live_peer_mut(peer) {
            Some(live)
                if is_safe && live.server_view == ServerView::Known && live.valid_from <= sent =>
            {
                live.held.insert(semaphore.to_owned(), count);
                live.unclaimed.remove(semaphore);
                true
            }
            _ => false,
        }
    }

    /// `peer` will hold no more than `count` of `semaphore`, which it has. Returns whether it has it.
    #[must_use]
    pub(crate) fn shrunk(&mut self, peer: PeerId, semaphore: &str, count: u64, now: Time) -> bool {
        let is_safe = self.deadline(peer).is_some_and(|deadline| now < deadline);
        let held = self.live_peer_mut(peer).and_then(|live| live.held.get_mut(semaphore));
        held.filter(|_| is_safe).map(|held| *held = count).is_some()
    }

    /// `peer` gives `semaphore` back, or has given it up.
    pub(crate) fn released(&mut self, peer: PeerId, semaphore: &str) {
        if let Some(live) = self.live_peer_mut(peer) {
            live.held.remove(semaphore);
            live.unclaimed.remove(semaphore);
        }
    }

    /// The server does not know `peer`, as it answered to a request sent at `sent`. Returns why everything
    /// is lost, if it is.
    ///
    /// `uptime` is for how long the server has been running, as it said itself. If it ran already when the last
    /// request was sent that it confirmed, it did not forget the peer: somebody removed it. If not, or if the
    /// server does not say, it is told of the peer again. The uptime was true at some instant between `sent`
    /// and `now`; if that leaves both possible, the server is asked once more, which is answered sooner.
    ///
    /// An answer to something that was sent before the last confirmation is old news, and a reason to
    /// ask again.
    pub(crate) fn unknown_peer(
        &mut self,
        peer: PeerId,
        sent: Time,
        now: Time,
        uptime: Option<Duration>,
    ) -> Option<Lost> {
        let deadline = self.deadline(peer)?;
        let live = self.live_peer_mut(peer)?;
        if deadline <= now {
            self.live = None;
            return Some(Lost::Expired);
        }
        if sent < live.lease_start || sent < live.valid_from {
            live.next_heartbeat = now;
            live.heartbeat_requested = true;
            return None;
        }
        let uptime = uptime.filter(|_| live.is_confirmed);
        // Since the confirmed request, at most and at least, until the server told its uptime.
        let (longest, shortest) = (now.since(live.lease_start), sent.since(live.lease_start));
        if uptime.is_some_and(|up| longest <= up) {
            self.live = None;
            return Some(Lost::Revoked);
        }
        live.next_heartbeat = now;
        if uptime.is_some_and(|up| shortest <= up) && !live.loss_is_ambiguous {
            live.loss_is_ambiguous = true;
            live.heartbeat_requested = true;
            return None;
        }
        live.loss_is_ambiguous = false;
        live.server_view = ServerView::Forgotten;
        live.valid_from = now;
        None
    }

    /// The server refuses to let `peer` go on. Returns why everything is lost, if it is.
    pub(crate) fn refused(&mut self, peer: PeerId, now: Time, code: Code) -> Option<Lost> {
        let live = self.live_peer_mut(peer)?;
        if code == Code::RestoreConflict {
            // So it lives, with a lock that was granted or asked for while the answer got lost; or without
            // one that it should have.
            live.server_view = ServerView::Disputed;
            live.next_heartbeat = now;
            return None;
        }
        self.live = None;
        Some(Lost::Refused(code))
    }

    /// A sign of life was not answered. The next one comes soon.
    pub(crate) fn no_answer(&mut self, peer: PeerId, now: Time, jitter: f64) {
        let length = self.length;
        if let Some(live) = self.live_peer_mut(peer) {
            let doubled = 1 << live.unanswered.min(3);
            let pause = (length / 64).clamp(SHORTEST_PAUSE, LONGEST_PAUSE) * doubled;
            live.unanswered += 1;
            live.timeout_doublings = (live.timeout_doublings + 1).min(2);
            live.next_heartbeat = now + pause.mul_f64(1.0 - jitter / 2.0);
        }
    }

    /// There is no peer any more, because it was given up here.
    pub(crate) fn close(&mut self) -> Option<PeerId> {
        self.live.take().map(|live| live.peer)
    }

    /// What to do at `now`.
    pub(crate) fn poll(&mut self, now: Time) -> Step {
        let Some(live) = &self.live else { return Step::Idle };
        let deadline = self.deadline_after(live.lease_start);
        if deadline <= now {
            let lost = if live.unanswered > 0 { Lost::Unreachable } else { Lost::Expired };
            self.live = None;
            return Step::Lost(lost);
        }
        let is_due = self.heartbeat_interval.is_some() || live.heartbeat_requested;
        if live.server_view == ServerView::Known && !is_due {
            return Step::Wait(deadline);
        }
        if now < live.next_heartbeat {
            return Step::Wait(live.next_heartbeat.min(deadline));
        }
        let peer = live.peer;
        // One answer that gets lost is noticed soon; a network that is always slow is waited for.
        let longest = self.length / FIRST_TIMEOUT_FRACTION * (1 << live.timeout_doublings);
        let timeout = longest.min(deadline.since(now));
        match live.server_view {
            ServerView::Disputed => Step::Inspect { peer, timeout },
            ServerView::Forgotten => Step::Restore { peer, locks: live.held.clone(), timeout },
            ServerView::Known => Step::Heartbeat { peer, timeout },
        }
    }

    fn live_peer(&self, peer: PeerId) -> Option<&LivePeer> {
        self.live.as_ref().filter(|live| live.peer == peer)
    }

    fn live_peer_mut(&mut self, peer: PeerId) -> Option<&mut LivePeer> {
        self.live.as_mut().filter(|live| live.peer == peer)
    }

    fn deadline_after(&self, sent: Time) -> Time {
        sent + (self.length - self.length / 64)
    }

    /// Up to a quarter earlier than the heartbeat_interval, so that peers that came together do not stay so.
    fn next_heartbeat_after(&self, sent: Time, jitter: f64) -> Time {
        sent + self.heartbeat_interval.unwrap_or(self.length).mul_f64(1.0 - jitter / 4.0)
    }
}

/// The part of the lease for which an answer is waited for at first. So four signs of life fit into it.
const FIRST_TIMEOUT_FRACTION: u32 = 6;

/// Bounds of the first pause after a sign of life that was not answered.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

//! The specification as a program: a list of peers that is scanned for everything, too slow to be
//! wrong.
//!
//! There are no queues, sums or deadlines that could get out of step with the peers: who is next, how
//! much is held and who is due is found by looking at everybody. What the specification leaves open,
//! namely which numbers tokens, tickets and semaphores get, the model takes from the machine's own
//! answers ([`Minted`]), and checks that they are as promised.
//!
//! Operations stand in [`operations`].

mod operations;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use throttle_core::{
    Admission, CancelCause, Command, Count, Error, Event, FencingToken, HeldLock, Labels, Level,
    PeerId, PendingLock, Reply, SemaphoreId, SemaphoreStatus, Sequence, Settings, Ticket, Time,
};

use crate::{
    coverage::Coverage,
    snapshot::{self, Snapshot},
};

#[derive(Debug)]
pub(crate) struct Model {
    settings: Settings,
    /// In nanoseconds, like all instants here.
    now: u64,
    /// When leases begin.
    present: u64,
    semaphores: Vec<Semaphore>,
    peers: Vec<Peer>,
    /// The greatest number of each peer that is not there, and since when it is not.
    absent: BTreeMap<PeerId, (Sequence, u64)>,
    last_ticket: Option<Ticket>,
    /// What all tokens of semaphores that are added must exceed.
    token_floor: u64,
    minted: Minted,
    events: Vec<Event>,
    pub(crate) seen: Coverage,
}

#[derive(Debug)]
struct Semaphore {
    id: SemaphoreId,
    max: Count,
    level: Level,
    last_token: u64,
}

#[derive(Debug)]
struct Peer {
    id: PeerId,
    lease: Duration,
    /// Wider than any instant, so that nothing has to saturate.
    deadline: u128,
    /// The numbers of all its requests that were served.
    numbers: Vec<Sequence>,
    labels: Option<Labels>,
    held: Vec<Held>,
    pending: Option<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    semaphore: SemaphoreId,
    count: Count,
    token: FencingToken,
    since: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    semaphore: SemaphoreId,
    count: Count,
    ticket: Ticket,
    since: u64,
    open_requests: u32,
    parked_until: Option<u128>,
}

/// The numbers that the machine made up for one command, in the order in which it did.
#[derive(Debug, Default)]
pub(crate) struct Minted {
    semaphore: Option<SemaphoreId>,
    ticket: Option<Ticket>,
    /// How far the machine got.
    reached: Option<Time>,
    tokens: VecDeque<FencingToken>,
}

impl Minted {
    pub(crate) fn by(reply: &Result<Reply, Error>, events: &[Event]) -> Self {
        let mut minted = Self::default();
        match *reply {
            Ok(Reply::Added(id)) => minted.semaphore = Some(id),
            Ok(Reply::CaughtUp(reached)) => minted.reached = Some(reached),
            Ok(Reply::Admitted(Admission::Queued { ticket, .. })) => minted.ticket = Some(ticket),
            _ => {}
        }
        minted.tokens.extend(events.iter().filter_map(|event| match *event {
            Event::Granted { token, .. } => Some(token),
            _ => None,
        }));
        minted
    }
}

impl Model {
    pub(crate) fn new(settings: Settings, token_floor: u64) -> Self {
        Self {
            settings,
            now: 0,
            present: 0,
            semaphores: Vec::new(),
            peers: Vec::new(),
            absent: BTreeMap::new(),
            last_ticket: None,
            // Room for 2^40 grants is left whatever the floor.
            token_floor: token_floor.min(FencingToken::MAX.get() - (1 << 40)),
            minted: Minted::default(),
            events: Vec::new(),
            seen: Coverage::default(),
        }
    }

    /// What the machine must answer to `command`, and what it must announce.
    pub(crate) fn apply(
        &mut self,
        now: Time,
        command: &Command,
        minted: Minted,
    ) -> (Result<Reply, Error>, Vec<Event>) {
        self.minted = minted;
        if matches!(command, Command::CatchUp { .. }) {
            self.catch_up(now);
        } else {
            self.pass(now);
        }
        let reply = self.perform(command);
        self.serve();
        if let Err(error) = reply {
            self.seen.note_refusal(error);
        }
        (reply, std::mem::take(&mut self.events))
    }

    /// When something happens if nobody does anything.
    pub(crate) fn timeout(&self) -> Option<Time> {
        let first = self.peers.iter().map(Peer::timeout).min()?;
        u64::try_from(first).ok().map(Time::from_nanos).filter(|&first| first < Time::MAX)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let semaphores = self.semaphores.iter().map(|semaphore| self.semaphore_snapshot(semaphore));
        let mut peers: Vec<_> =
            self.peers.iter().map(|peer| peer.snapshot(self.now, self.present)).collect();
        peers.sort_by_key(|peer| peer.id);
        Snapshot { now: Time::from_nanos(self.now), semaphores: semaphores.collect(), peers }
    }

    fn semaphore_snapshot(&self, semaphore: &Semaphore) -> snapshot::Semaphore {
        let (peers, id, now) = (&self.peers, semaphore.id, self.now);
        let held = |peer: &Peer| Some((peer.id, peer.held_on(id)?.snapshot(now)));
        let mut holders: Vec<_> = peers.iter().filter_map(held).collect();
        holders.sort_by_key(|(_, lock)| lock.token);
        let pending = |peer: &Peer| Some((peer.id, peer.pending_on(id)?.snapshot(now)));
        let mut waiters: Vec<_> = peers.iter().filter_map(pending).collect();
        waiters.sort_by_key(|(_, lock)| lock.ticket);
        let status = SemaphoreStatus {
            max: semaphore.max,
            level: semaphore.level,
            held: holders.iter().map(|(_, lock)| lock.count.get()).sum(),
            pending: waiters.iter().map(|(_, lock)| u128::from(lock.count.get())).sum(),
            holders: holders.len(),
            waiters: waiters.len(),
            longest_pending: waiters
                .iter()
                .map(|(_, lock)| lock.waiting_for)
                .max()
                .unwrap_or_default(),
            longest_held: holders.iter().map(|(_, lock)| lock.held_for).max().unwrap_or_default(),
        };
        snapshot::Semaphore { id, status, holders, waiters }
    }

    /// Lets time pass as far as the machine did. Leases that begin on the way begin at the present.
    fn catch_up(&mut self, now: Time) {
        let reached = self.minted.reached.expect("it was told");
        let now = now.as_nanos().min(u64::MAX - 1).max(self.now);
        assert!((self.now..=now).contains(&reached.as_nanos()), "{reached:?} is before {now}");
        if reached.as_nanos() < now {
            self.seen.note("clock: behind the present");
        }
        self.present = self.present.max(now);
        self.pass(reached);
    }

    /// Lets time pass: whatever is due happens at its own instant, one instant after the other.
    fn pass(&mut self, now: Time) {
        // The end of time is never reached: it stands for never.
        let now = now.as_nanos().min(u64::MAX - 1);
        match now {
            _ if now < self.now => self.seen.note("clock: backwards"),
            _ if now == u64::MAX - 1 => self.seen.note("clock: end of time"),
            _ => {}
        }
        let now = now.max(self.now);
        let mut chain = 0;
        while let Some(due) = self.timeout().filter(|due| due.as_nanos() <= now) {
            self.now = self.now.max(due.as_nanos());
            self.present = self.present.max(self.now);
            let granted_before = self.events.iter().filter_map(|event| match event {
                Event::Granted { peer, .. } => Some(*peer),
                _ => None,
            });
            let granted_before: Vec<_> = granted_before.collect();
            let end = u128::from(self.now);
            let mut ending = self.peers.iter().filter(|peer| peer.lease_end() <= end);
            chain += usize::from(ending.any(|peer| granted_before.contains(&peer.id)));
            self.happen();
            self.serve();
        }
        if chain >= 3 {
            self.seen.note("expired: a chain of those who were just granted");
        }
        self.now = now;
        self.present = self.present.max(now);
    }

    /// Whoever is due at this instant goes, all before anybody gains from it.
    fn happen(&mut self) {
        let now = u128::from(self.now);
        let due = self.peers.iter().filter(|peer| peer.timeout() <= now);
        let mut due: Vec<_> = due.map(|peer| (peer.id, peer.lease_end() <= now)).collect();
        due.sort_unstable();
        if due.iter().filter(|(_, expires)| *expires).count() > 1 {
            self.seen.note("expired: several at one instant");
        }
        for (peer, expires) in due {
            if expires {
                self.note_end(peer, ["expired: idle", "expired: holding", "expired: waiting"]);
                let (locks, labels) = self.remove(peer);
                self.events.push(Event::Expired { peer, locks, labels });
            } else {
                self.seen.note("parked: abandoned");
                self.cancel(peer, CancelCause::Abandoned);
            }
        }
    }

    /// Grants every semaphore to those who are next in line, as long as there is room.
    fn serve(&mut self) {
        let before = self.events.len();
        for id in self.semaphores.iter().map(|semaphore| semaphore.id).collect::<Vec<_>>() {
            while let Some(next) = self.next_in_line(id) {
                let pending = self.peer(next).pending.expect("who stands in line waits");
                if !self.fits(id, pending.count) {
                    break;
                }
                if self.line(id).any(|waiter| waiter.ticket < pending.ticket) {
                    self.seen.note("granted: before a parked waiter");
                }
                self.seen.note("granted: later");
                self.peer_mut(next).pending = None;
                self.grant(next, id, pending.count, Some(pending.since));
                self.answer(next, pending, "request: granted");
            }
        }
        if self.events.len() > before + 1 {
            self.seen.note("granted: several in one step");
        }
    }

    /// `waiting_since` is `None` for what is restored.
    fn grant(
        &mut self,
        id: PeerId,
        semaphore: SemaphoreId,
        count: Count,
        waiting_since: Option<u64>,
    ) {
        let token = self.minted.tokens.pop_front();
        let token = token.unwrap_or_else(|| panic!("{id} is not granted {count} of {semaphore:?}"));
        let known = self.semaphore_mut(semaphore).expect("checked before");
        assert!(known.last_token < token.get(), "S10: {token} does not exceed the last token");
        assert!(token <= FencingToken::MAX, "S10: {token} has more than 53 bits");
        known.last_token = token.get();
        let since = self.now;
        let waited = waiting_since.map(|begin| Duration::from_nanos(since - begin));
        self.peer_mut(id).held.push(Held { semaphore, count, token, since });
        self.events.push(Event::Granted { peer: id, semaphore, count, token, waited });
    }

    /// Takes a peer out with all it has. Returns how many locks it held, and its labels.
    fn remove(&mut self, id: PeerId) -> (u32, Option<Box<Labels>>) {
        let at = self.peers.iter().position(|peer| peer.id == id).expect("checked before");
        let peer = self.peers.remove(at);
        for lock in &peer.held {
            self.events.push(lock.released(id, self.now));
        }
        if let Some(pending) = peer.pending {
            self.events.push(pending.cancelled(id, self.now, CancelCause::PeerGone));
        }
        if let Some(latest) = peer.numbers.iter().copied().max().filter(|latest| latest.get() > 0) {
            self.seen.note("number: left behind");
            self.leave_behind(id, latest);
        }
        (u32::try_from(peer.held.len()).expect("few"), peer.labels.map(Box::new))
    }

    /// The greatest number of a peer that is not there, as far as it is remembered.
    fn left_behind(&self, id: PeerId) -> Option<Sequence> {
        let &(sequence, since) = self.absent.get(&id)?;
        (self.now - since <= 600_000_000_000).then_some(sequence)
    }

    fn leave_behind(&mut self, id: PeerId, sequence: Sequence) {
        let latest = sequence.max(self.left_behind(id).unwrap_or_default());
        self.absent.insert(id, (latest, self.now));
    }

    /// Gives up the pending lock of a peer.
    fn cancel(&mut self, id: PeerId, cause: CancelCause) {
        let pending = self.peer_mut(id).pending.take().expect("checked before");
        self.events.push(pending.cancelled(id, self.now, cause));
        self.answer(id, pending, "request: cancelled");
    }

    /// S8: the lease of somebody who has just heard an answer counts anew.
    fn answer(&mut self, id: PeerId, pending: Pending, how: &'static str) {
        if pending.open_requests > 0 {
            self.seen.note(how);
            self.renew(id);
            let next_instant = u128::from(self.now) + 1;
            let peer = self.peer_mut(id);
            peer.deadline = peer.deadline.max(next_instant);
        }
    }

    fn renew(&mut self, id: PeerId) {
        let present = self.present;
        let peer = self.peer_mut(id);
        peer.deadline = u128::from(present) + peer.lease.as_nanos();
    }

    /// All that wait for a semaphore, in no particular order.
    fn line(&self, id: SemaphoreId) -> impl Iterator<Item = &Pending> {
        self.peers.iter().filter_map(move |peer| peer.pending_on(id))
    }

    /// S2 and S15: who came first, of those that are not parked.
    fn next_in_line(&self, id: SemaphoreId) -> Option<PeerId> {
        let standing = |peer: &&Peer| {
            peer.pending_on(id).is_some_and(|pending| pending.parked_until.is_none())
        };
        let came = |peer: &&Peer| peer.pending.map(|pending| pending.ticket);
        self.peers.iter().filter(standing).min_by_key(came).map(|peer| peer.id)
    }

    /// S1.
    fn fits(&self, id: SemaphoreId, count: Count) -> bool {
        let max = self.semaphores.iter().find(|known| known.id == id).expect("checked before").max;
        self.held(id) + u128::from(count.get()) <= u128::from(max.get())
    }

    fn held(&self, id: SemaphoreId) -> u128 {
        let held = self.peers.iter().filter_map(|peer| peer.held_on(id));
        held.map(|lock| u128::from(lock.count.get())).sum()
    }

    fn semaphore_mut(&mut self, id: SemaphoreId) -> Result<&mut Semaphore, Error> {
        let known = self.semaphores.iter_mut().find(|known| known.id == id);
        known.ok_or(Error::UnknownSemaphore)
    }

    fn find(&self, id: PeerId) -> Result<&Peer, Error> {
        self.peers.iter().find(|peer| peer.id == id).ok_or(Error::UnknownPeer)
    }

    fn peer(&self, id: PeerId) -> &Peer {
        self.find(id).expect("checked before")
    }

    fn peer_mut(&mut self, id: PeerId) -> &mut Peer {
        self.peers.iter_mut().find(|peer| peer.id == id).expect("checked before")
    }

    fn note_end(&mut self, id: PeerId, [idle, holding, waiting]: [&'static str; 3]) {
        let peer = self.peer(id);
        let ends = [(!peer.held.is_empty(), holding), (peer.pending.is_some(), waiting)];
        if ends.iter().all(|(applies, _)| !applies) {
            self.seen.note(idle);
        }
        ends.into_iter().filter(|(applies, _)| *applies).for_each(|(_, end)| self.seen.note(end));
    }
}

impl Peer {
    fn held_on(&self, id: SemaphoreId) -> Option<&Held> {
        self.held.iter().find(|lock| lock.semaphore == id)
    }

    fn pending_on(&self, id: SemaphoreId) -> Option<&Pending> {
        self.pending.as_ref().filter(|pending| pending.semaphore == id)
    }

    /// S8: nobody expires while they are being answered.
    fn lease_end(&self) -> u128 {
        match self.pending {
            Some(pending) if pending.open_requests > 0 => u128::MAX,
            _ => self.deadline,
        }
    }

    fn timeout(&self) -> u128 {
        let parked_until = self.pending.and_then(|pending| pending.parked_until);
        self.lease_end().min(parked_until.unwrap_or(u128::MAX))
    }

    fn snapshot(&self, now: u64, present: u64) -> snapshot::Peer {
        // The machine counts 584 years; what is longer lasts for ever.
        let expires_in = self.lease.min(Duration::from_nanos(u64::MAX));
        // An end beyond the last instant is no end either.
        let end = u64::try_from(self.lease_end()).ok().filter(|&end| end < u64::MAX);
        assert!(end.is_none_or(|end| now <= end), "S8: nobody outlives their deadline");
        let left = end.map(|end| end.saturating_sub(present));
        snapshot::Peer {
            id: self.id,
            expires_in,
            time_left: left.map_or(expires_in, Duration::from_nanos),
            labels: self.labels.clone(),
            held: self.held.iter().map(|lock| lock.snapshot(now)).collect(),
            pending: self.pending.map(|lock| lock.snapshot(now)),
        }
    }
}

impl Held {
    fn snapshot(&self, now: u64) -> HeldLock {
        let Self { semaphore, count, token, since } = *self;
        HeldLock { semaphore, count, token, held_for: Duration::from_nanos(now - since) }
    }

    fn released(&self, peer: PeerId, now: u64) -> Event {
        let Self { semaphore, count, token, since } = *self;
        Event::Released { peer, semaphore, count, token, held: Duration::from_nanos(now - since) }
    }
}

impl Pending {
    fn snapshot(&self, now: u64) -> PendingLock {
        let Self { semaphore, count, ticket, since, parked_until, .. } = *self;
        let (waiting_for, parked) = (Duration::from_nanos(now - since), parked_until.is_some());
        PendingLock { semaphore, count, ticket, waiting_for, parked }
    }

    fn cancelled(&self, peer: PeerId, now: u64, cause: CancelCause) -> Event {
        let Self { semaphore, count, since, .. } = *self;
        let waited = Duration::from_nanos(now - since);
        Event::Cancelled { peer, semaphore, count, waited, cause }
    }
}

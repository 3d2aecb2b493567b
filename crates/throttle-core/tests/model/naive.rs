//! The specification as a program: a list of peers that is scanned for everything, too slow to be
//! wrong.
//!
//! There are no queues, sums or deadlines that could disagree with the peers. The next waiter, the count
//! held and the peers that are due are found by scanning all peers. The specification leaves open which
//! numbers tokens, tickets and semaphores get; the model takes them from the machine's own answers
//! ([`Minted`]) and checks what is promised about them.
//!
//! The operations are in [`operations`].

mod operations;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use throttle_core::{
    Admission, CancelCause, Command, Count, Error, Event, FencingToken, HeldLock, Holder, Labels,
    Level, PeerId, PendingLock, Reply, SemaphoreId, SemaphoreStatus, Sequence, Settings, Ticket,
    Time, Waiter,
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
    /// How many semaphores were ever added.
    added: usize,
    /// Semaphores from this index on grant nothing.
    suspended_from: Option<usize>,
    peers: Vec<Peer>,
    /// The highest sequence number of each absent peer, and when it was recorded.
    absent: BTreeMap<PeerId, (Sequence, u64)>,
    last_ticket: Option<Ticket>,
    /// The tokens of new semaphores must exceed this one.
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
    /// The level it gets once it is unused.
    next_level: Option<Level>,
    /// Whether it is removed, except for its holders.
    retired: bool,
    last_token: u64,
}

#[derive(Debug)]
struct Peer {
    id: PeerId,
    lease: Duration,
    /// Wider than any instant, so that sums never saturate.
    deadline: u128,
    /// The sequence numbers of all its accepted requests.
    sequences: Vec<Sequence>,
    labels: Labels,
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

/// The numbers that the machine drew for one command, in order.
#[derive(Debug, Default)]
pub(crate) struct Minted {
    semaphore: Option<SemaphoreId>,
    ticket: Option<Ticket>,
    /// The instant that the machine reached.
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
            added: 0,
            suspended_from: None,
            peers: Vec::new(),
            absent: BTreeMap::new(),
            last_ticket: None,
            // Room for 2^40 grants is left for any floor.
            token_floor: token_floor.min(FencingToken::MAX.get() - (1 << 40)),
            minted: Minted::default(),
            events: Vec::new(),
            seen: Coverage::default(),
        }
    }

    /// The result of `command` and the events that the machine must give.
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
            self.advance(now);
        }
        let reply = self.perform(command);
        self.serve();
        self.carry_out_deferred();
        if let Err(error) = reply {
            self.seen.note_refusal(error);
        }
        (reply, std::mem::take(&mut self.events))
    }

    /// D6, D7: another machine takes over the peers with their locks. Each has its full lease, and nobody
    /// attends a waiter. Returns the events that the machine must give.
    pub(crate) fn recover(&mut self, now: Time, minted: Minted) -> Vec<Event> {
        self.note_recovery();
        self.minted = minted;
        self.now = now.as_nanos();
        self.present = self.now;
        self.suspended_from = None;
        self.last_ticket =
            self.peers.iter().filter_map(|peer| Some(peer.pending.as_ref()?.ticket)).max();
        for id in self.peers.iter().map(|peer| peer.id).collect::<Vec<_>>() {
            self.renew(id);
            if let Some(pending) = &mut self.peer_mut(id).pending {
                (pending.open_requests, pending.parked_until) = (0, None);
            }
        }
        self.serve();
        if !self.events.is_empty() {
            self.seen.note("recovered: and granted");
        }
        std::mem::take(&mut self.events)
    }

    fn note_recovery(&mut self) {
        let pending = || self.peers.iter().filter_map(|peer| peer.pending.as_ref());
        let cases = [
            (true, "recovered"),
            (self.peers.iter().any(|peer| !peer.held.is_empty()), "recovered: with holders"),
            (pending().next().is_some(), "recovered: with waiters"),
            (pending().any(|lock| lock.open_requests > 0), "recovered: with open requests"),
            (pending().any(|lock| lock.parked_until.is_some()), "recovered: with parked waiters"),
            (self.semaphores.iter().any(|known| known.retired), "recovered: with retired ones"),
            (
                self.semaphores.iter().any(|known| known.next_level.is_some()),
                "recovered: with deferred levels",
            ),
            (!self.absent.is_empty(), "recovered: with absent peers"),
            (self.now < self.present, "recovered: in the backlog"),
            (self.suspended_from.is_some(), "recovered: with suspended grants"),
        ];
        let happened: Vec<_> = cases.into_iter().filter(|(it, _)| *it).map(|(_, it)| it).collect();
        happened.into_iter().for_each(|what| self.seen.note(what));
    }

    /// The next instant at which something happens without a command.
    pub(crate) fn timeout(&self) -> Option<Time> {
        let first = self.peers.iter().map(Peer::timeout).min()?;
        u64::try_from(first).ok().map(Time::from_nanos).filter(|&first| first < Time::MAX)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let semaphores = self.semaphores.iter().map(|semaphore| self.semaphore_snapshot(semaphore));
        let mut peers: Vec<_> = self.peers.iter().map(|peer| self.peer_snapshot(peer)).collect();
        peers.sort_by_key(|peer| peer.id);
        Snapshot { now: Time::from_nanos(self.now), semaphores: semaphores.collect(), peers }
    }

    fn peer_snapshot(&self, peer: &Peer) -> snapshot::Peer {
        peer.snapshot(self.now, self.present)
    }

    fn semaphore_snapshot(&self, semaphore: &Semaphore) -> snapshot::Semaphore {
        let (peers, id, now) = (&self.peers, semaphore.id, self.now);
        let holder = |peer: &Peer| {
            let HeldLock { count, token, held_for, .. } = peer.held_on(id)?.snapshot(now);
            let snapshot::Peer { id: peer, time_left, labels, .. } = self.peer_snapshot(peer);
            Some(Holder { peer, count, token, held_for, time_left, labels })
        };
        let mut holders: Vec<_> = peers.iter().filter_map(holder).collect();
        holders.sort_by_key(|holder| holder.token);
        let waiter = |peer: &Peer| {
            let lock = peer.pending_on(id)?.snapshot(now);
            let PendingLock { count, ticket, waiting_for, parked, .. } = lock;
            let snapshot::Peer { id: peer, time_left, labels, .. } = self.peer_snapshot(peer);
            Some(Waiter { peer, count, ticket, waiting_for, parked, time_left, labels })
        };
        let mut waiters: Vec<_> = peers.iter().filter_map(waiter).collect();
        waiters.sort_by_key(|waiter| waiter.ticket);
        let longest_pending = waiters.iter().map(|waiter| waiter.waiting_for).max();
        let longest_held = holders.iter().map(|holder| holder.held_for).max();
        let status = SemaphoreStatus {
            id,
            name: (),
            max: semaphore.max,
            level: semaphore.level,
            next_level: semaphore.next_level,
            retired: semaphore.retired,
            held: holders.iter().map(|holder| holder.count.get()).sum(),
            pending: waiters.iter().map(|waiter| waiter.count.get()).sum(),
            holders: holders.len(),
            waiters: waiters.len(),
            longest_pending: longest_pending.unwrap_or_default(),
            longest_held: longest_held.unwrap_or_default(),
        };
        snapshot::Semaphore { id, status, holders, waiters }
    }

    /// Advances time as far as the machine did. Leases that begin on the way begin at the present.
    fn catch_up(&mut self, now: Time) {
        let reached = self.minted.reached.expect("CatchUp returns an instant");
        let now = now.as_nanos().min(u64::MAX - 1).max(self.now);
        assert!((self.now..=now).contains(&reached.as_nanos()), "{reached:?} is before {now}");
        if reached.as_nanos() < now {
            self.seen.note("clock: behind the present");
        }
        self.present = self.present.max(now);
        self.advance(reached);
    }

    /// Advances time. What is due happens at its own instant, one instant after the other.
    fn advance(&mut self, now: Time) {
        // Time::MAX means never, so it is never reached.
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
            self.process_due();
            self.serve();
            self.carry_out_deferred();
        }
        if chain >= 3 {
            self.seen.note("expired: a chain of peers just granted");
        }
        self.now = now;
        self.present = self.present.max(now);
    }

    /// Removes the peers that are due at this instant, before any queue is served.
    fn process_due(&mut self) {
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

    /// Grants every semaphore to the heads of its queue, as long as they fit.
    fn serve(&mut self) {
        let before = self.events.len();
        for id in self.semaphores.iter().map(|semaphore| semaphore.id).collect::<Vec<_>>() {
            while self.serve_next(id) {}
        }
        if self.events.len() > before + 1 {
            self.seen.note("granted: several in one step");
        }
    }

    /// D9: a semaphore that nobody uses gets its next level, or is removed if it is retired.
    fn carry_out_deferred(&mut self) {
        for id in self.semaphores.iter().map(|known| known.id).collect::<Vec<_>>() {
            if self.is_in_use(id) {
                continue;
            }
            let known = self.semaphore_mut(id).expect("it was just listed");
            if let Some(level) = known.next_level.take() {
                known.level = level;
                self.seen.note("level: changed when unused");
                self.events.push(Event::LevelChanged { semaphore: id, level });
            } else if known.retired {
                self.discard(id);
                self.seen.note("retired: released by the last holder");
                self.events.push(Event::SemaphoreRemoved { semaphore: id });
            }
        }
    }

    fn discard(&mut self, id: SemaphoreId) {
        let last_token = self.semaphore_mut(id).expect("the caller has checked it").last_token;
        self.token_floor = self.token_floor.max(last_token);
        self.semaphores.retain(|known| known.id != id);
    }

    fn is_in_use(&self, id: SemaphoreId) -> bool {
        let used = |peer: &Peer| peer.held_on(id).is_some() || peer.pending_on(id).is_some();
        self.peers.iter().any(used)
    }

    /// Grants a semaphore to the head of its queue if it fits.
    fn serve_next(&mut self, id: SemaphoreId) -> bool {
        let Some(next) = self.head_of_queue(id) else { return false };
        let pending = self.peer(next).pending.expect("the head of a queue waits");
        if !self.fits(id, pending.count) {
            return false;
        }
        if self.waiters(id).any(|waiter| waiter.ticket < pending.ticket) {
            self.seen.note("granted: before a parked waiter");
        }
        self.seen.note("granted: later");
        self.peer_mut(next).pending = None;
        self.grant(next, id, pending.count, Some(pending.since));
        self.renew_after_wait(next, pending, "request: granted");
        true
    }

    /// `waiting_since` is `None` for a restored lock.
    fn grant(
        &mut self,
        id: PeerId,
        semaphore: SemaphoreId,
        count: Count,
        waiting_since: Option<u64>,
    ) {
        let token = self.minted.tokens.pop_front();
        let token = token.unwrap_or_else(|| panic!("{id} is not granted {count} of {semaphore:?}"));
        let known = self.semaphore_mut(semaphore).expect("the caller has checked it");
        assert!(known.last_token < token.get(), "S10: {token} does not exceed the last token");
        assert!(token <= FencingToken::MAX, "S10: {token} has more than 53 bits");
        known.last_token = token.get();
        let since = self.now;
        let waited = waiting_since.map(|begin| Duration::from_nanos(since - begin));
        self.peer_mut(id).held.push(Held { semaphore, count, token, since });
        self.events.push(Event::Granted { peer: id, semaphore, count, token, waited });
    }

    /// Removes a peer with its locks. Returns how many locks it held, and its labels.
    fn remove(&mut self, id: PeerId) -> (u32, Option<Box<Labels>>) {
        let at =
            self.peers.iter().position(|peer| peer.id == id).expect("the caller has checked it");
        let peer = self.peers.remove(at);
        for lock in &peer.held {
            self.events.push(lock.released(id, self.now));
        }
        if let Some(pending) = peer.pending {
            self.events.push(pending.cancelled(id, self.now, CancelCause::PeerGone));
        }
        if let Some(latest) = peer.sequences.iter().copied().max().filter(|latest| latest.get() > 0)
        {
            self.seen.note("sequence: left behind");
            self.leave_sequence(id, latest);
        }
        let labels = (!peer.labels.is_empty()).then(|| Box::new(peer.labels));
        (u32::try_from(peer.held.len()).expect("few"), labels)
    }

    /// The highest sequence number of an absent peer, if it is remembered.
    fn absent_sequence(&self, id: PeerId) -> Option<Sequence> {
        let &(sequence, since) = self.absent.get(&id)?;
        (self.now - since <= 600_000_000_000).then_some(sequence)
    }

    fn leave_sequence(&mut self, id: PeerId, sequence: Sequence) {
        let latest = sequence.max(self.absent_sequence(id).unwrap_or_default());
        self.absent.insert(id, (latest, self.now));
    }

    /// Cancels the pending lock of a peer.
    fn cancel(&mut self, id: PeerId, cause: CancelCause) {
        let pending = self.peer_mut(id).pending.take().expect("the caller has checked it");
        self.events.push(pending.cancelled(id, self.now, cause));
        self.renew_after_wait(id, pending, "request: cancelled");
    }

    /// S8: the answer to an open request renews the lease.
    fn renew_after_wait(&mut self, id: PeerId, pending: Pending, how: &'static str) {
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

    /// All waiters of a semaphore, in arbitrary order.
    fn waiters(&self, id: SemaphoreId) -> impl Iterator<Item = &Pending> {
        self.peers.iter().filter_map(move |peer| peer.pending_on(id))
    }

    /// S2 and S15: the waiter that arrived first, not counting parked ones.
    fn head_of_queue(&self, id: SemaphoreId) -> Option<PeerId> {
        let queued = |peer: &&Peer| {
            peer.pending_on(id).is_some_and(|pending| pending.parked_until.is_none())
        };
        let ticket = |peer: &&Peer| peer.pending.map(|pending| pending.ticket);
        self.peers.iter().filter(queued).min_by_key(ticket).map(|peer| peer.id)
    }

    /// S1.
    fn fits(&self, id: SemaphoreId, count: Count) -> bool {
        if self.suspended_from.is_some_and(|from| from <= id.index()) {
            return false;
        }
        let known = self.semaphores.iter().find(|known| known.id == id);
        let known = known.expect("the caller has checked it");
        let enough = self.held(id) + u128::from(count.get()) <= u128::from(known.max.get());
        enough && !known.retired
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
        self.find(id).expect("the caller has checked it")
    }

    fn peer_mut(&mut self, id: PeerId) -> &mut Peer {
        self.peers.iter_mut().find(|peer| peer.id == id).expect("the caller has checked it")
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

    /// S8: a lease does not end while a request is open.
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
        // The machine counts up to 584 years; a longer lease never ends.
        let expires_in = self.lease.min(Duration::from_nanos(u64::MAX));
        // A lease that would end after the last instant never ends either.
        let end = u64::try_from(self.lease_end()).ok().filter(|&end| end < u64::MAX);
        assert!(end.is_none_or(|end| now <= end), "S8: no peer outlives its deadline");
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
        PendingLock { semaphore, count, ticket, waiting_for, parked, place: None }
    }

    fn cancelled(&self, peer: PeerId, now: u64, cause: CancelCause) -> Event {
        let Self { semaphore, count, since, .. } = *self;
        let waited = Duration::from_nanos(now - since);
        Event::Cancelled { peer, semaphore, count, waited, cause }
    }
}

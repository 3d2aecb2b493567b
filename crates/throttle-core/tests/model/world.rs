//! The generator of random lives: a world decides which command comes next, and when.
//!
//! A life is a function of random bytes, so one generator serves tests, fuzzing and simulation. A
//! world has few peers and semaphores, so that commands interact. Its clock counts in seconds, so that
//! instants coincide; it stands still, jumps, and goes backwards. Each world leaves out some commands
//! ("swarm testing": A. Groce et al., 2012), and some worlds use the largest numbers possible.
//!
//! A world observes the answers and events of the machine ([`World::observe`]). So it knows which ids and
//! tickets exist, and most commands name existing peers and semaphores. Commands about removed peers and
//! past waits come often enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use arbitrary::{Result, Unstructured};
use throttle_core::{
    Admission, Command, Count, Error, Event, Labels, Level, LockRequest, NewPeer, PeerId, Reply,
    Restoration, SemaphoreId, Sequence, Settings, Throttle, Ticket, Time,
};

/// The parameters of a life, and what was observed of it so far.
#[derive(Debug)]
pub(crate) struct World {
    settings: Settings,
    token_floor: u64,
    weights: Vec<(Kind, u32)>,
    /// Peers are numbered from one to this.
    peers: u64,
    /// The largest count in a world without extremes.
    largest: u64,
    levels: i32,
    longest_lease: u64,
    /// Whether waiting peers have leases that end as soon as the lock is granted.
    hasty: bool,
    /// How many commands of the [opening](Self::opening) have been issued.
    opened: u64,
    /// Whether some counts, leases and instants are at the end of their range.
    extreme: bool,
    /// How many semaphores are still to be added before the life begins.
    missing: u8,
    now: Time,
    /// Whether grants are suspended.
    suspended: bool,
    /// The instant that the machine has reached, if it has a backlog.
    reached: Option<Time>,
    semaphores: Vec<SemaphoreId>,
    existing: BTreeSet<SemaphoreId>,
    retired: BTreeSet<SemaphoreId>,
    living: BTreeSet<PeerId>,
    holding: BTreeSet<(PeerId, SemaphoreId)>,
    waiting: BTreeSet<(PeerId, SemaphoreId)>,
    tickets: BTreeMap<PeerId, Vec<Ticket>>,
    /// Whether some requests have sequence numbers.
    numbers: bool,
    /// How many requests had a number.
    numbered: u64,
}

/// The variants of [`Command`].
#[derive(Clone, Copy, Debug)]
enum Kind {
    Acquire,
    AddSemaphore,
    CatchUp,
    EndWait,
    Expire,
    Heartbeat,
    NewPeer,
    Park,
    ReinstateSemaphore,
    Release,
    RemovePeer,
    RemoveSemaphore,
    Resize,
    Restore,
    ResumeSomeGrants,
    SetLevel,
    SuspendGrants,
}

/// The relative frequency of each kind, in worlds that do not leave it out.
const WEIGHTS: [(Kind, u32); 17] = [
    (Kind::Acquire, 36),
    (Kind::AddSemaphore, 1),
    (Kind::CatchUp, 8),
    (Kind::EndWait, 5),
    (Kind::Expire, 3),
    (Kind::Heartbeat, 6),
    (Kind::NewPeer, 10),
    (Kind::Park, 9),
    (Kind::ReinstateSemaphore, 1),
    (Kind::Release, 16),
    (Kind::RemovePeer, 3),
    (Kind::RemoveSemaphore, 2),
    (Kind::Resize, 5),
    (Kind::Restore, 4),
    (Kind::ResumeSomeGrants, 1),
    (Kind::SetLevel, 1),
    (Kind::SuspendGrants, 1),
];

impl World {
    pub(crate) fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let mut weights = WEIGHTS.to_vec();
        for (kind, weight) in &mut weights {
            if !matches!(kind, Kind::Acquire | Kind::NewPeer) && u.ratio(1, 4)? {
                *weight = 0;
            }
        }
        let hasty = u.ratio(1, 4)?;
        let peers = u.int_in_range(4..=if hasty { 24 } else { 9 })?;
        let settings = Settings {
            abandoned_after: Duration::from_secs(u.int_in_range(0..=8)?),
            max_label_bytes: if u.ratio(1, 4)? { u.int_in_range(0..=200)? } else { u64::MAX },
            max_peers: if u.ratio(1, 4)? { u.int_in_range(1..=4)? } else { u32::MAX },
            max_waiters: if u.ratio(1, 4)? { u.int_in_range(0..=2)? } else { u32::MAX },
        };
        Ok(Self {
            settings,
            token_floor: *u.choose(&[0, 1 << 52, u64::MAX])?,
            weights,
            peers,
            largest: u.int_in_range(1..=if hasty { 1 } else { 5 })?,
            levels: u.int_in_range(0..=4)?,
            // Few locks are granted late if peers expire early.
            longest_lease: if hasty { 8 } else { *u.choose(&[8, 60, 60, 600])? },
            hasty,
            opened: 0,
            extreme: u.ratio(1, 6)?,
            missing: if hasty { 1 } else { *u.choose(&[1, 1, 2, 3])? },
            now: Time::ZERO,
            suspended: false,
            reached: None,
            semaphores: Vec::new(),
            existing: BTreeSet::new(),
            retired: BTreeSet::new(),
            living: BTreeSet::new(),
            holding: BTreeSet::new(),
            waiting: BTreeSet::new(),
            tickets: BTreeMap::new(),
            numbers: u.ratio(3, 4)?,
            numbered: 0,
        })
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    /// All tokens must exceed this one.
    pub(crate) fn token_floor(&self) -> u64 {
        self.token_floor
    }

    /// A machine for this world. The first commands add its semaphores.
    pub(crate) fn throttle(&self) -> Throttle {
        Throttle::new(self.settings).with_token_floor(self.token_floor)
    }

    /// Whether the machine ends here, and another one is rebuilt from its records. Returns the instant at which
    /// that one begins.
    pub(crate) fn crash(&mut self, u: &mut Unstructured<'_>) -> Result<Option<Time>> {
        let every = match (self.reached, self.waiting.is_empty()) {
            (Some(_), _) => 12,
            (None, false) => 48,
            (None, true) => 192,
        };
        if self.missing > 0 || !u.ratio(1, every)? {
            return Ok(None);
        }
        (self.reached, self.suspended) = (None, false);
        if u.arbitrary()? {
            self.pass(u.int_in_range(0..=20)?);
        }
        Ok(Some(self.now.min(LAST)))
    }

    /// All semaphores that were ever added.
    pub(crate) fn semaphores(&self) -> &[SemaphoreId] {
        &self.semaphores
    }

    /// The next command, and its instant.
    pub(crate) fn next(&mut self, u: &mut Unstructured<'_>) -> Result<(Time, Command)> {
        if self.missing > 0 {
            self.missing -= 1;
            return Ok((self.now, self.add_semaphore(u)?));
        }
        if self.hasty && self.opened < 2 * self.peers {
            self.opened += 1;
            return Ok((self.now, self.opening(u)?));
        }
        if let Some(reached) = self.reached.filter(|_| u.ratio(7, 8).unwrap_or_default()) {
            return Ok(match self.command(u)? {
                catch_up @ Command::CatchUp { .. } => (self.now, catch_up),
                command => (reached, command),
            });
        }
        self.reached = None;
        let now = self.tick(u)?;
        Ok((now, self.command(u)?))
    }

    /// The opening of a hasty world: all peers are created, then most of them join the queue.
    fn opening(&self, u: &mut Unstructured<'_>) -> Result<Command> {
        let peer = PeerId::new((self.opened - 1) % self.peers + 1).expect("numbered from one");
        if self.opened <= self.peers {
            return Ok(Command::NewPeer { peer, attributes: self.new_peer(u)? });
        }
        let expires_in = u.ratio(3, 4)?.then(|| u.int_in_range(0..=2)).transpose()?;
        let expires_in = expires_in.map(Duration::from_nanos);
        let request = (self.semaphores[0], Count::ONE).into();
        let request = LockRequest { expires_in, attended: expires_in.is_some(), ..request };
        Ok(Command::Acquire { peer, request })
    }

    /// Takes note of the machine's answer and events.
    pub(crate) fn observe(
        &mut self,
        command: &Command,
        reply: &std::result::Result<Reply, Error>,
        events: &[Event],
    ) {
        match (command, reply) {
            (_, &Ok(Reply::CaughtUp(reached))) => {
                self.reached = Some(reached).filter(|&reached| reached < self.now.min(LAST));
            }
            (_, &Ok(Reply::Added(id))) => {
                self.semaphores.push(id);
                self.existing.insert(id);
            }
            (_, &Ok(Reply::Resumed(suspended))) => self.suspended = suspended,
            (Command::SuspendGrants, _) => self.suspended = true,
            (&Command::RemoveSemaphore { semaphore }, &Ok(Reply::InForce(gone))) => {
                self.existing.remove(&semaphore);
                if !gone {
                    self.retired.insert(semaphore);
                }
            }
            (&Command::ReinstateSemaphore { semaphore, .. }, Ok(_)) => {
                self.retired.remove(&semaphore);
                self.existing.insert(semaphore);
            }
            (
                &Command::Acquire { peer, .. },
                &Ok(Reply::Admitted(Admission::Queued { ticket, .. })),
            ) => {
                self.tickets.entry(peer).or_default().push(ticket);
            }
            _ => {}
        }
        self.numbered += u64::from(is_numbered(command));
        self.observe_events(events);
    }

    /// Takes note of events that no command caused.
    pub(crate) fn observe_events(&mut self, events: &[Event]) {
        for event in events {
            self.observe_event(event);
        }
    }

    fn observe_event(&mut self, event: &Event) {
        match *event {
            Event::Cancelled { peer, semaphore, .. } => {
                self.waiting.remove(&(peer, semaphore));
            }
            Event::Expired { peer, .. } | Event::Removed { peer, .. } => {
                self.living.remove(&peer);
            }
            Event::Granted { peer, semaphore, .. } => {
                self.waiting.remove(&(peer, semaphore));
                self.holding.insert((peer, semaphore));
            }
            Event::PeerCreated { peer } | Event::Restored { peer } => {
                self.living.insert(peer);
            }
            Event::Queued { peer, semaphore, .. } => {
                self.waiting.insert((peer, semaphore));
            }
            Event::Released { peer, semaphore, .. } => {
                self.holding.remove(&(peer, semaphore));
            }
            Event::SemaphoreRemoved { semaphore } => {
                self.retired.remove(&semaphore);
            }
            Event::LeaseChanged { .. }
            | Event::LevelChanged { .. }
            | Event::Parked { .. }
            | Event::Resized { .. }
            | Event::Resumed { .. }
            | Event::Shrunk { .. } => {}
        }
    }

    /// Advances the clock or not. Returns the instant of the next command, which may be in the past.
    fn tick(&mut self, u: &mut Unstructured<'_>) -> Result<Time> {
        match u.int_in_range(0..=63)? {
            0..=35 => {}
            36..=59 => self.pass(u.int_in_range(1..=2)?),
            60 => self.pass(u.int_in_range(1..=self.longest_lease)?),
            61 => self.now = self.now + Duration::from_nanos(1),
            62 => {
                let ago = Duration::from_secs(u.int_in_range(1..=20)?);
                return Ok(Time::ZERO + self.now.since(Time::ZERO).saturating_sub(ago));
            }
            _ if self.extreme && u.ratio(1, 8)? => self.now = *u.choose(&LATE)?,
            _ => {}
        }
        Ok(self.now)
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    fn command(&self, u: &mut Unstructured<'_>) -> Result<Command> {
        let kind = match self.kind(u)? {
            // Without peers nothing happens.
            _ if self.living.is_empty() && u.arbitrary()? => Kind::NewPeer,
            _ if self.existing.is_empty() => Kind::AddSemaphore,
            _ if self.suspended && u.ratio(1, 8)? => Kind::ResumeSomeGrants,
            kind => kind,
        };
        Ok(match kind {
            Kind::Acquire => self.acquire(u)?,
            Kind::AddSemaphore => self.add_semaphore(u)?,
            Kind::CatchUp => Command::CatchUp { budget: u.int_in_range(0..=3)? },
            Kind::EndWait => match self.wait(u)? {
                Some((peer, ticket)) => Command::EndWait { peer, ticket },
                None => Command::Expire,
            },
            Kind::Expire => Command::Expire,
            Kind::Heartbeat => {
                Command::Heartbeat { peer: self.peer(u)?, expires_in: self.lease(u)? }
            }
            Kind::NewPeer => {
                Command::NewPeer { peer: self.any_peer(u)?, attributes: self.new_peer(u)? }
            }
            Kind::Park => match self.wait(u)? {
                Some((peer, ticket)) => Command::Park { peer, ticket },
                None => Command::Expire,
            },
            Kind::ReinstateSemaphore => {
                let any = self.retired.is_empty() || u.ratio(1, 8)?;
                let semaphore = if any { self.semaphore(u)? } else { pick(&self.retired, u)? };
                let (max, level) = (self.max(u)?, self.level(u)?);
                Command::ReinstateSemaphore { semaphore, max, level }
            }
            Kind::Release => {
                let (peer, semaphore) = self.lock(u, 5, 2)?;
                Command::Release { peer, semaphore, sequence: self.sequence(u, 6)? }
            }
            Kind::RemovePeer => {
                let peer = if u.ratio(1, 4)? { self.any_peer(u)? } else { self.peer(u)? };
                Command::RemovePeer { peer, sequence: self.sequence(u, 3)? }
            }
            Kind::RemoveSemaphore => Command::RemoveSemaphore { semaphore: self.semaphore(u)? },
            Kind::Resize => Command::Resize { semaphore: self.semaphore(u)?, max: self.max(u)? },
            Kind::Restore => Command::Restore(self.restoration(u)?),
            Kind::ResumeSomeGrants => {
                let budget = if u.arbitrary()? { u32::MAX } else { u.int_in_range(0..=3)? };
                Command::ResumeSomeGrants { budget }
            }
            Kind::SetLevel => {
                Command::SetLevel { semaphore: self.semaphore(u)?, level: self.level(u)? }
            }
            Kind::SuspendGrants => Command::SuspendGrants,
        })
    }

    fn kind(&self, u: &mut Unstructured<'_>) -> Result<Kind> {
        let total: u32 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut drawn = u.int_in_range(0..=total - 1)?;
        for &(kind, weight) in &self.weights {
            if drawn < weight {
                return Ok(kind);
            }
            drawn -= weight;
        }
        unreachable!("the number drawn is less than the sum of the weights")
    }

    fn acquire(&self, u: &mut Unstructured<'_>) -> Result<Command> {
        let newcomer = if u.ratio(3, 4)? { self.newcomer(u)? } else { None };
        let (peer, semaphore) = match newcomer {
            Some(peer) => (peer, self.semaphore(u)?),
            None => self.lock(u, 1, 4)?,
        };
        let expires_in = match u.int_in_range(0..=3)? {
            0 => Some(self.lease(u)?),
            1 | 2 if self.hasty => Some(Duration::from_nanos(u.int_in_range(0..=2)?)),
            _ => None,
        };
        let attended = if self.hasty { u.ratio(7, 8)? } else { u.arbitrary()? };
        let count = self.count(u)?;
        let sequence = self.sequence(u, 12)?;
        let request = LockRequest { semaphore, count, expires_in, attended, sequence };
        Ok(Command::Acquire { peer, request })
    }

    fn add_semaphore(&self, u: &mut Unstructured<'_>) -> Result<Command> {
        Ok(Command::AddSemaphore { max: self.max(u)?, level: self.level(u)? })
    }

    fn restoration(&self, u: &mut Unstructured<'_>) -> Result<Restoration> {
        let mut locks = BTreeMap::new();
        for _ in 0..u.int_in_range(0..=2)? {
            locks.insert(self.semaphore(u)?, self.count(u)?);
        }
        let (mut peer, expires_in) = (self.any_peer(u)?, self.lease(u)?);
        if !self.retired.is_empty() && u.ratio(1, 3)? {
            locks = [(pick(&self.retired, u)?, Count::ONE)].into();
            let mut holding = self.holding.iter().filter(|(_, held)| locks.contains_key(held));
            if let Some((holder, _)) = holding.next().filter(|_| u.arbitrary().unwrap_or_default())
            {
                peer = *holder;
            }
        }
        let sequence = self.sequence(u, 2)?;
        Ok(Restoration { peer, expires_in, locks, labels: self.labels(u)?, sequence })
    }

    /// For one request in `every`, a number about as high as those of earlier requests.
    fn sequence(&self, u: &mut Unstructured<'_>, every: u8) -> Result<Option<Sequence>> {
        if !self.numbers || !u.ratio(1, every)? {
            return Ok(None);
        }
        let behind = u.int_in_range(0..=4)?;
        let number = (self.numbered + 2).saturating_sub(behind);
        Ok(Some(Sequence::new(number).expect("lives are short")))
    }

    fn any_peer(&self, u: &mut Unstructured<'_>) -> Result<PeerId> {
        let id = u.int_in_range(1..=self.peers)?;
        Ok(PeerId::new(id).expect("numbered from one"))
    }

    fn peer(&self, u: &mut Unstructured<'_>) -> Result<PeerId> {
        if self.living.is_empty() || u.ratio(1, 16)? {
            self.any_peer(u)
        } else {
            pick(&self.living, u)
        }
    }

    /// A peer without locks, so that queues grow.
    fn newcomer(&self, u: &mut Unstructured<'_>) -> Result<Option<PeerId>> {
        let busy: BTreeSet<_> = self.holding.union(&self.waiting).map(|&(peer, _)| peer).collect();
        let free: BTreeSet<_> = self.living.difference(&busy).copied().collect();
        if free.is_empty() { Ok(None) } else { pick(&free, u).map(Some) }
    }

    fn semaphore(&self, u: &mut Unstructured<'_>) -> Result<SemaphoreId> {
        if self.existing.is_empty() || u.ratio(1, 32)? {
            return u.choose(&self.semaphores).copied();
        }
        pick(&self.existing, u)
    }

    /// A held lock in `held` of eight cases, a pending one in `pending` of eight, otherwise any peer with any
    /// semaphore.
    fn lock(
        &self,
        u: &mut Unstructured<'_>,
        held: u8,
        pending: u8,
    ) -> Result<(PeerId, SemaphoreId)> {
        let drawn = u.int_in_range(0..=7)?;
        match drawn {
            _ if drawn < held && !self.holding.is_empty() => pick(&self.holding, u),
            _ if drawn >= 8 - pending && !self.waiting.is_empty() => pick(&self.waiting, u),
            _ => Ok((self.peer(u)?, self.semaphore(u)?)),
        }
    }

    /// Mostly the wait of a peer that waits. Some waits are already over, also if a newer one has begun.
    fn wait(&self, u: &mut Unstructured<'_>) -> Result<Option<(PeerId, Ticket)>> {
        let waiting: BTreeSet<_> = self.waiting.iter().map(|&(peer, _)| peer).collect();
        let any = waiting.is_empty() || u.ratio(1, 8)?;
        let peer = if any { self.any_peer(u)? } else { pick(&waiting, u)? };
        let Some(tickets) = self.tickets.get(&peer) else { return Ok(None) };
        let ticket = if u.ratio(1, 4)? { Some(u.choose(tickets)?) } else { tickets.last() };
        Ok(ticket.map(|&ticket| (peer, ticket)))
    }

    fn max(&self, u: &mut Unstructured<'_>) -> Result<Count> {
        self.up_to(self.largest, u)
    }

    /// Mostly small, so that several fit at a time.
    fn count(&self, u: &mut Unstructured<'_>) -> Result<Count> {
        let largest = [1, 1, 2, self.largest][u.choose_index(4)?];
        self.up_to(largest, u)
    }

    fn up_to(&self, largest: u64, u: &mut Unstructured<'_>) -> Result<Count> {
        let count = if self.extreme && u.arbitrary()? {
            *u.choose(&[Count::MAX.get(), Count::MAX.get() - 1, 1 << 52])?
        } else {
            u.int_in_range(1..=largest)?
        };
        Ok(Count::new(count).expect("from one to the maximum"))
    }

    fn level(&self, u: &mut Unstructured<'_>) -> Result<Level> {
        if self.extreme && u.arbitrary()? {
            return Ok(Level(*u.choose(&[i32::MIN, i32::MAX])?));
        }
        u.int_in_range(0..=self.levels).map(Level)
    }

    fn lease(&self, u: &mut Unstructured<'_>) -> Result<Duration> {
        match u.int_in_range(0..=31)? {
            0 => Ok(Duration::ZERO),
            1 | 2 if self.extreme => Ok(Duration::MAX),
            _ => u.int_in_range(1..=self.longest_lease).map(Duration::from_secs),
        }
    }

    fn new_peer(&self, u: &mut Unstructured<'_>) -> Result<NewPeer> {
        Ok(NewPeer { expires_in: self.lease(u)?, labels: self.labels(u)? })
    }

    fn labels(&self, u: &mut Unstructured<'_>) -> Result<Labels> {
        if !u.ratio(1, 8)? {
            return Ok(Labels::default());
        }
        let host = format!("worker-{}", self.peer(u)?);
        Ok(Labels::from_iter([("host".to_owned(), host)]))
    }
}

fn is_numbered(command: &Command) -> bool {
    match command {
        Command::Acquire { request, .. } => request.sequence.is_some(),
        Command::Release { sequence, .. } | Command::RemovePeer { sequence, .. } => {
            sequence.is_some()
        }
        Command::Restore(restoration) => restoration.sequence.is_some(),
        _ => false,
    }
}

fn pick<T: Copy>(among: &BTreeSet<T>, u: &mut Unstructured<'_>) -> Result<T> {
    u.choose_iter(among).copied()
}

const LATE: [Time; 2] = [Time::MAX, Time::from_nanos(u64::MAX - 2_000_000_000)];

/// The last instant that is ever reached: [`Time::MAX`] means never.
const LAST: Time = Time::from_nanos(u64::MAX - 1);

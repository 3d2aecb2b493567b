//! The journal: which changes are not durable yet, and who waits until they are.
//!
//! A service with a store notes, in each critical section, which peers and semaphores the section touched. The
//! touched ones *gather* until the [writer] has time for them. Then their records are read from the state
//! machine, as they are at that instant, and are written as one batch, while the next batch gathers. So changes of
//! one peer coalesce, and a slow disk makes batches larger, not queues longer.
//!
//! Nothing that is not durable is shown. Answers and outcomes of waits are held back in the newest batch that they
//! depend on. Batches become durable in their order, and deliver what they hold when they have.
//!
//! A batch has a limit. A gathering batch that has reached it is *sealed*: its records are read at once, and later
//! changes gather in the next one. A batch is never cut between two operations that it has coalesced: such a cut
//! could show a lock at two peers. How one that is too large for the store is written in parts is decided in
//! [`split`].

mod gathering;
mod snapshot;
mod split;
pub(crate) mod writer;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use throttle_core::{Event, PeerId, SemaphoreId, Throttle, Time};
use tokio::sync::oneshot;

use self::gathering::{Gathering, TouchedPeers};
pub(crate) use self::snapshot::{Converter, Snapshot, semaphore_record};
use crate::{
    clock::Calendar,
    names::Names,
    open_waits::{Outcome, WaitSender},
    rate_limit::RateLimit,
    store::{Meta, StoreError},
};

/// What an answer shows, and therefore which batches have to be durable before it is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shows {
    /// Everything that was applied before it.
    Everything,
    /// Nothing that has to be durable.
    Nothing,
    /// One peer.
    Peer(PeerId),
}

/// Resolves when what an answer shows is durable. An error means that it never will be.
pub(crate) type Receipt = oneshot::Receiver<()>;

/// What gathers, what is being written, and what is held back.
#[derive(Debug)]
pub(crate) struct Journal {
    gathering: Gathering,
    /// Batches that have been read and wait for the writer, the oldest first.
    sealed: VecDeque<Sealed>,
    in_flight: Option<InFlight>,
    /// A gathering batch of this many records is sealed.
    limit: usize,
    pub(crate) meta: Meta,
    calendar: Calendar,
    /// Whether the writer has to be woken.
    writer_is_idle: bool,
    pub(crate) ending: Ending,
    slow_log: RateLimit,
}

/// Whether and how the journal ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It goes on.
    Open,
    /// It ends when everything that was touched is durable. These are told then.
    Closing(Vec<oneshot::Sender<Result<(), StoreError>>>),
    /// The store is released.
    Closed,
    /// The store has failed.
    Failed(StoreError),
}

/// A batch that has been read, but not written.
#[derive(Debug)]
struct Sealed {
    snapshot: Snapshot,
    peers: TouchedPeers,
    held: Held,
}

/// A batch that is being written.
#[derive(Debug)]
struct InFlight {
    peers: TouchedPeers,
    held: Held,
    /// By the clock, on which no stall is left out.
    since: Time,
}

/// What is held back until a batch is durable.
#[derive(Debug, Default)]
pub(crate) struct Held {
    answers: Vec<oneshot::Sender<()>>,
    outcomes: Vec<(WaitSender, Outcome)>,
}

impl Held {
    /// Gives the answers, and ends the waits. Must not be called under the mutex.
    pub(crate) fn deliver(self) {
        for answer in self.answers {
            let _ = answer.send(());
        }
        for (wait, outcome) in self.outcomes {
            // A client that hung up just now holds a granted lock until its lease ends.
            let _ = wait.sender.send(outcome);
        }
    }

    /// Forgets those whose requests were dropped, before it grows: while a store hangs, clients give up and repeat
    /// their requests for as long as that lasts.
    fn make_room(&mut self) {
        make_room(&mut self.answers, |answer| !answer.is_closed());
        make_room(&mut self.outcomes, |(wait, _)| !wait.sender.is_closed());
    }

    fn append(&mut self, mut other: Self) {
        self.answers.append(&mut other.answers);
        self.outcomes.append(&mut other.outcomes);
    }
}

impl Journal {
    /// A journal in which nothing has gathered, for a store that takes batches of `max_batch` records.
    pub(crate) fn new(max_batch: usize, meta: Meta, calendar: Calendar) -> Self {
        Self {
            gathering: Gathering::default(),
            sealed: VecDeque::new(),
            in_flight: None,
            // An operation that touches a few records more is not to exceed what the store takes.
            limit: (max_batch - max_batch / 4).clamp(1, SEAL_AT),
            meta,
            calendar,
            writer_is_idle: false,
            ending: Ending::Open,
            slow_log: RateLimit::default(),
        }
    }

    /// Notes what an event touched.
    pub(crate) fn record(&mut self, event: &Event, names: &Names) {
        self.gathering.record(event, names);
    }

    /// Notes that the record of a peer may have changed, or the number that is remembered of it.
    pub(crate) fn touch_peer(&mut self, peer: PeerId) {
        self.gathering.touch_peer(peer);
    }

    /// Notes that a semaphore was added or has changed.
    pub(crate) fn touch_semaphore(&mut self, id: SemaphoreId) {
        self.gathering.semaphores.insert(id);
    }

    /// Notes that there is no semaphore of this name any more. Another one of the same name may be added.
    pub(crate) fn remove_semaphore(&mut self, name: Arc<str>) {
        self.gathering.removed.insert(name);
    }

    /// Notes that the meta record has to be written.
    pub(crate) fn touch_meta(&mut self) {
        self.gathering.meta = true;
    }

    /// Holds back the outcomes of waits until everything that was applied is durable. Returns those that need not
    /// be held back.
    pub(crate) fn hold(
        &mut self,
        outcomes: Vec<(WaitSender, Outcome)>,
    ) -> Vec<(WaitSender, Outcome)> {
        match self.newest() {
            Some(held) if !outcomes.is_empty() => {
                held.make_room();
                held.outcomes.extend(outcomes);
                Vec::new()
            }
            _ => outcomes,
        }
    }

    /// Holds back an answer. `None` if what it shows is durable.
    pub(crate) fn receipt(&mut self, shows: Shows) -> Option<Receipt> {
        let held = match shows {
            Shows::Nothing => None,
            Shows::Everything => self.newest(),
            Shows::Peer(peer) => self.newest_with(peer),
        };
        let held = held?;
        held.make_room();
        let (sender, receipt) = oneshot::channel();
        held.answers.push(sender);
        Some(receipt)
    }

    /// What is held back until everything that was applied is durable; `None` if it is.
    fn newest(&mut self) -> Option<&mut Held> {
        if !self.gathering.is_empty() {
            return Some(&mut self.gathering.held);
        }
        match self.sealed.back_mut() {
            Some(sealed) => Some(&mut sealed.held),
            None => self.in_flight.as_mut().map(|batch| &mut batch.held),
        }
    }

    /// What is held back until the changes of a peer are durable; `None` if they are.
    fn newest_with(&mut self, peer: PeerId) -> Option<&mut Held> {
        if self.gathering.peers.contains_key(&peer) {
            return Some(&mut self.gathering.held);
        }
        let sealed = self.sealed.iter_mut().rfind(|batch| batch.peers.contains_key(&peer));
        match sealed {
            Some(sealed) => Some(&mut sealed.held),
            None => {
                let batch = self.in_flight.as_mut()?;
                batch.peers.contains_key(&peer).then_some(&mut batch.held)
            }
        }
    }

    /// Seals the gathering batch if it has reached its limit.
    ///
    /// If very many are sealed already, because the store hangs, it gathers on. Then it has at most a record for each
    /// peer, however long that lasts.
    pub(crate) fn seal_if_full(&mut self, throttle: &Throttle, names: &Arc<Names>, stalled: u64) {
        if self.gathering.len() >= self.limit && self.sealed.len() < MAX_SEALED {
            let sealed = self.seal(throttle, names, stalled);
            self.sealed.push_back(sealed);
        }
    }

    fn seal(&mut self, throttle: &Throttle, names: &Arc<Names>, stalled: u64) -> Sealed {
        let gathering = mem::take(&mut self.gathering);
        let calendar = self.calendar;
        let floor = throttle.token_floor();
        let meta = (gathering.meta || floor > self.meta.token_floor).then(|| {
            self.meta.token_floor = floor;
            self.meta
        });
        let snapshot = Snapshot::read(&gathering, meta, throttle, names, calendar, stalled);
        Sealed { snapshot, peers: gathering.peers, held: gathering.held }
    }

    /// The next batch to write, which is in flight from now on; `None` if there is nothing to write.
    fn take_batch(
        &mut self,
        throttle: &Throttle,
        names: &Arc<Names>,
        stalled: u64,
        observed: Time,
    ) -> Option<Snapshot> {
        let sealed = match self.sealed.pop_front() {
            Some(sealed) => sealed,
            None if self.gathering.is_empty() => return None,
            None => self.seal(throttle, names, stalled),
        };
        let Sealed { snapshot, peers, held } = sealed;
        self.in_flight = Some(InFlight { peers, held, since: observed });
        Some(snapshot)
    }

    /// All batches that are not in flight, to be written although nobody waits for them any more.
    pub(crate) fn take_rest(
        &mut self,
        throttle: &Throttle,
        names: &Arc<Names>,
        stalled: u64,
    ) -> Vec<Snapshot> {
        let mut rest: Vec<_> = self.sealed.drain(..).map(|sealed| sealed.snapshot).collect();
        if !self.gathering.is_empty() {
            rest.push(self.seal(throttle, names, stalled).snapshot);
        }
        rest
    }

    /// The batch in flight is durable. Returns what it held back.
    fn durable(&mut self) -> Held {
        self.in_flight.take().map(|batch| batch.held).unwrap_or_default()
    }

    /// Takes everything that is held back. It is dropped, not delivered, if the store or the service has failed.
    pub(crate) fn take_held(&mut self) -> Held {
        let mut held = self.durable();
        for sealed in self.sealed.drain(..) {
            held.append(sealed.held);
        }
        held.append(mem::take(&mut self.gathering).held);
        held
    }

    /// Whether the writer has something to do and does not know it. It is woken once.
    pub(crate) fn must_wake_writer(&mut self) -> bool {
        // One operation may have filled a batch, which is sealed then, and nothing gathers.
        let has_batch = !self.gathering.is_empty() || !self.sealed.is_empty();
        let must_wake =
            self.writer_is_idle && (has_batch || matches!(self.ending, Ending::Closing(_)));
        self.writer_is_idle &= !must_wake;
        must_wake
    }

    /// Whether a batch has been in flight for so long that the store counts as stalled.
    pub(crate) fn hangs(&self, observed: Time) -> bool {
        self.in_flight.as_ref().is_some_and(|batch| observed - batch.since >= HANGS)
    }

    /// For how long a batch has been in flight, if that is too long and has not been reported lately.
    pub(crate) fn report_slow_batch(&mut self, observed: Time) -> Option<Duration> {
        let lasts = observed - self.in_flight.as_ref()?.since;
        (lasts >= SLOW && self.slow_log.admits(observed, SLOW)).then_some(lasts)
    }
}

/// Removes entries that are not worth keeping from a full list. It is not full again before it has twice as many,
/// so an entry costs O(1).
fn make_room<T>(list: &mut Vec<T>, is_worth: impl FnMut(&T) -> bool) {
    if list.len() == list.capacity() {
        list.retain(is_worth);
        list.reserve(list.len() + 1);
    }
}

/// A gathering batch of this many records is sealed, even if the store takes more. The records are read under the
/// mutex, at less than a microsecond each.
const SEAL_AT: usize = 8_192;

/// How many batches are sealed at a time: at most half a million records.
const MAX_SEALED: usize = 64;

/// A batch that takes longer than this is a stall, as one of the process is.
const HANGS: Duration = Duration::from_secs(1);

/// A batch that takes longer than this is reported, because nothing is answered meanwhile.
const SLOW: Duration = Duration::from_secs(10);

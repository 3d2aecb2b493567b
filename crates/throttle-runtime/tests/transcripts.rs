//! The transcripts, played against the runtime on a paused clock: without a store, with one, and with one while the
//! service is started again after each line.

use std::{collections::BTreeMap, time::Duration};

use throttle_runtime::{
    Admission, Count, Error, Handle, Labels, Level, LockRequest, PeerId, Restoration,
    SemaphoreConfig, Sequence, Settings,
};
use throttle_transcripts::{Act, Peer, PeerState, Subject, play};
use tokio::{
    runtime::Builder,
    task::{JoinHandle, yield_now},
    time::sleep,
};

use crate::memory_store::MemoryStore;

#[path = "../../throttle-transcripts/corpus/mod.rs"]
mod corpus;
#[expect(clippy::allow_attributes, reason = "other tests use what these do not")]
#[allow(dead_code, reason = "other tests use what these do not")]
#[path = "memory_store/mod.rs"]
mod memory_store;

fn check(transcript: expect_test::Expect) {
    let play_with = |mode| {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let played = play(transcript.data(), |semaphores| Runtime::start(semaphores, mode));
        runtime.expect("a runtime starts").block_on(played)
    };
    transcript.assert_eq(&play_with(Mode::Memory));
    transcript.assert_eq(&play_with(Mode::Store));
    let restarted = play_with(Mode::Restarts);
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    if !DIFFER.iter().any(|name| test.ends_with(name)) {
        transcript.assert_eq(&restarted);
    }
}

/// The transcripts that restarts change. In most of them a lease ends, which each restart renews (D6), or a waiter is
/// parked, which no recovered waiter is (D7). In one a client repeats a request that it would no longer repeat, because
/// it has shrunk its lock meanwhile. In one numbers of absent peers grow old, by the wall clock, which is not paused.
const DIFFER: &[&str] = &[
    "expiry::a_heartbeat_renews_the_lease",
    "expiry::a_peer_does_not_expire_during_its_own_wait_and_the_answer_renews_its_lease",
    "expiry::an_acquire_renews_the_lease_only_if_it_names_a_length",
    "expiry::an_answer_that_the_lock_is_still_pending_renews_the_lease",
    "expiry::at_its_deadline_a_peer_is_removed_with_all_its_locks",
    "repetition::a_pending_lock_shrinks_and_keeps_its_place",
    "restore::a_forgotten_peer_comes_back_with_its_locks",
    "retirement::a_retired_semaphore_is_gone_when_its_last_holder_expires_or_is_removed",
    "retirement::the_waiters_of_a_removed_semaphore_are_answered_at_once",
    "sequence::a_late_request_does_not_renew_the_lease",
    "sequence::numbers_of_absent_peers_are_remembered_for_ten_minutes",
    "waiting::a_parked_waiter_that_asks_again_is_granted_a_free_lock_at_once",
    "waiting::a_parked_waiter_that_does_not_ask_again_in_time_loses_its_place_but_not_its_other_locks",
    "waiting::a_waiter_whose_connection_broke_is_passed_over",
    "waiting::the_lease_of_a_parked_waiter_runs_again",
];

/// How a transcript is played.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Memory,
    Store,
    /// The service crashes after each line, and is started again. Clients repeat the requests that are open then.
    Restarts,
}

/// An open request.
struct Open {
    peer: Peer,
    answer: JoinHandle<Result<Admission, Error>>,
    semaphore: String,
    request: LockRequest,
    /// When it is no longer willing to wait.
    until: Duration,
}

struct Runtime {
    mode: Mode,
    store: MemoryStore,
    handle: Handle,
    semaphores: BTreeMap<String, SemaphoreConfig>,
    ids: BTreeMap<Peer, PeerId>,
    now: Duration,
    open: Vec<Open>,
}

impl Runtime {
    fn start(semaphores: Vec<(String, u64, i32)>, mode: Mode) -> Self {
        let semaphores = semaphores.into_iter().map(|(name, max, level)| {
            let max = Count::new(max).expect("a positive maximum");
            (name, SemaphoreConfig { max, level: Level(level) })
        });
        let (semaphores, store) = (semaphores.collect(), MemoryStore::new());
        Self {
            mode,
            handle: start(&semaphores, Some(&store).filter(|_| mode != Mode::Memory)),
            store,
            semaphores,
            ids: BTreeMap::new(),
            now: Duration::ZERO,
            open: Vec::new(),
        }
    }

    /// The id of the peer; before it is created, its number in the script.
    fn id(&self, peer: Peer) -> PeerId {
        let unknown = || PeerId::new(peer.0).expect("peers are numbered from one");
        self.ids.get(&peer).copied().unwrap_or_else(unknown)
    }

    async fn act(&mut self, act: &Act) -> Result<String, Error> {
        let ok = |()| "ok".to_owned();
        let handle = self.handle.clone();
        match act {
            Act::Acquire { .. } => self.acquire(act).await,
            Act::IsAcquired(peer) => {
                handle.is_acquired(self.id(*peer)).await.map(|free| free.to_string())
            }
            Act::Disconnect(peer) => {
                let broken = self.open.extract_if(.., |open| open.peer == *peer);
                broken.for_each(|open| open.answer.abort());
                Ok(ok(()))
            }
            Act::Heartbeat(peer, lease) => handle.heartbeat(self.id(*peer), *lease).await.map(ok),
            Act::NewPeer(peer, lease) => {
                self.ids.insert(*peer, handle.new_peer(*lease, Labels::default()).await?);
                Ok(ok(()))
            }
            Act::RemovePeer(peer, sequence) => {
                let peer = self.id(*peer);
                let sequence = sequence.and_then(Sequence::new);
                Ok(handle.remove_peer(peer, sequence).await?.to_string())
            }
            Act::Release(peer, semaphore, sequence) => {
                let sequence = sequence.and_then(Sequence::new);
                handle.release(self.id(*peer), semaphore, sequence).await.map(|_| ok(()))
            }
            Act::Remainder(semaphore) => handle.remainder(semaphore).await.map(|n| n.to_string()),
            Act::Configure(semaphore, max, level) => {
                let max = Count::new(*max).expect("a positive maximum");
                let config = SemaphoreConfig { max, level: Level(*level) };
                self.semaphores.insert(semaphore.clone(), config);
                let changes = handle.reconfigure(Settings::default(), &self.semaphores).await?;
                let deferred = changes.deferred.contains(semaphore);
                Ok(if deferred { "deferred" } else { "ok" }.to_owned())
            }
            Act::RemoveSemaphore(semaphore) => {
                handle.semaphore(semaphore).await?;
                self.semaphores.remove(semaphore);
                let changes = handle.reconfigure(Settings::default(), &self.semaphores).await?;
                let removed = changes.removed.contains(semaphore);
                Ok(if removed { "removed" } else { "retired" }.to_owned())
            }
            Act::Resize(semaphore, max) => {
                let config = self.semaphores.get_mut(semaphore);
                let config = config.ok_or(throttle_core::Error::UnknownSemaphore)?;
                config.max = Count::new(*max).expect("a positive maximum");
                let changes = handle.reconfigure(Settings::default(), &self.semaphores).await?;
                assert_eq!(changes.changed, [semaphore.as_str()]);
                Ok(ok(()))
            }
            Act::Restore(peer, expires_in, locks, sequence) => {
                let locks =
                    locks.iter().map(|(name, &count)| Ok((name.clone(), Count::try_from(count)?)));
                let restoration = Restoration {
                    peer: self.id(*peer),
                    expires_in: *expires_in,
                    locks: locks.collect::<Result<_, Error>>()?,
                    labels: Labels::default(),
                    sequence: sequence.and_then(Sequence::new),
                };
                handle.restore(restoration).await.map(ok)
            }
            Act::Wait => Ok(ok(())),
            Act::ResumeGrants | Act::SuspendGrants => unreachable!("it cannot play them"),
        }
    }

    async fn acquire(&mut self, act: &Act) -> Result<String, Error> {
        let Act::Acquire { peer, semaphore, count, expires_in, block_for, sequence } = act else {
            unreachable!()
        };
        let count = Count::try_from(*count)?;
        let sequence = sequence.and_then(Sequence::new);
        let request =
            LockRequest { count, expires_in: *expires_in, block_for: *block_for, sequence };
        let answer = self.send(*peer, semaphore, request);
        settle().await;
        if answer.is_finished() {
            return self::answer(answer).await.map(str::to_owned);
        }
        let until = self.now + block_for.unwrap_or_default();
        let (peer, semaphore) = (*peer, semaphore.clone());
        self.open.push(Open { peer, answer, semaphore, request, until });
        Ok("waits".to_owned())
    }

    fn send(
        &self,
        peer: Peer,
        semaphore: &str,
        request: LockRequest,
    ) -> JoinHandle<Result<Admission, Error>> {
        let (handle, id, semaphore) = (self.handle.clone(), self.id(peer), semaphore.to_owned());
        tokio::spawn(async move { handle.acquire(id, &semaphore, request).await })
    }

    /// Ends the service without a warning, and continues with what it has stored.
    async fn restart(&mut self) {
        self.store = MemoryStore::of(self.store.contents());
        let waiting: Vec<_> = self.open.extract_if(.., |open| !open.answer.is_finished()).collect();
        waiting.iter().for_each(|open| open.answer.abort());
        self.handle = start(&self.semaphores, Some(&self.store));
        for open in waiting {
            let block_for = Some(open.until - self.now);
            let answer =
                self.send(open.peer, &open.semaphore, LockRequest { block_for, ..open.request });
            self.open.push(Open { answer, ..open });
        }
        settle().await;
    }
}

fn start(semaphores: &BTreeMap<String, SemaphoreConfig>, store: Option<&MemoryStore>) -> Handle {
    let builder = Handle::builder(Settings::default(), semaphores);
    match store {
        Some(store) => builder.store(store.open()).start().expect("the store is sound"),
        None => builder.start().expect("there is no store"),
    }
}

impl Subject for Runtime {
    fn can_play(act: &Act) -> bool {
        // Only a start suspends them, for the grace period.
        !matches!(act, Act::ResumeGrants | Act::SuspendGrants)
    }

    async fn perform(&mut self, act: &Act) -> String {
        let answer = self.act(act).await.unwrap_or_else(|error| error.code().to_owned());
        settle().await;
        if self.mode == Mode::Restarts {
            self.restart().await;
        }
        answer
    }

    async fn advance_to(&mut self, at: Duration) {
        sleep(at - self.now).await;
        self.now = at;
        settle().await;
    }

    async fn take_answers(&mut self) -> Vec<(Peer, String)> {
        let mut answers = Vec::new();
        for open in self.open.extract_if(.., |open| open.answer.is_finished()) {
            let answer = answer(open.answer).await.unwrap_or_else(Error::code).to_owned();
            answers.push((open.peer, answer));
        }
        answers
    }

    async fn peer_state(&mut self, peer: Peer) -> PeerState {
        let Ok(status) = self.handle.peer(self.id(peer)).await else {
            return PeerState::default();
        };
        PeerState {
            exists: true,
            held: status.held.iter().map(|lock| lock.semaphore.to_string()).collect(),
            pending: status.pending.map(|lock| lock.semaphore.to_string()),
        }
    }
}

async fn answer(request: JoinHandle<Result<Admission, Error>>) -> Result<&'static str, Error> {
    Ok(match request.await.expect("no request panics")? {
        Admission::Granted { .. } => "granted",
        Admission::Queued { .. } => "queued",
    })
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

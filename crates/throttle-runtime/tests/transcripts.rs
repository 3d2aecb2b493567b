//! The transcripts, played against the runtime on a paused clock.

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

#[path = "../../throttle-transcripts/corpus/mod.rs"]
mod corpus;

fn check(transcript: expect_test::Expect) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let played = play(transcript.data(), Runtime::start);
    transcript.assert_eq(&runtime.expect("a runtime starts").block_on(played));
}

struct Runtime {
    handle: Handle,
    semaphores: BTreeMap<String, SemaphoreConfig>,
    ids: BTreeMap<Peer, PeerId>,
    now: Duration,
    open: Vec<(Peer, JoinHandle<Result<Admission, Error>>)>,
}

impl Runtime {
    fn start(semaphores: Vec<(String, u64, i32)>) -> Self {
        let semaphores = semaphores.into_iter().map(|(name, max, level)| {
            let max = Count::new(max).expect("a positive maximum");
            (name, SemaphoreConfig { max, level: Level(level) })
        });
        let semaphores = semaphores.collect();
        Self {
            handle: Handle::start(Settings::default(), &semaphores),
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
                let broken = self.open.extract_if(.., |(waiter, _)| waiter == peer);
                broken.for_each(|(_, request)| request.abort());
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
            Act::Resize(semaphore, max) => {
                let config = self.semaphores.get_mut(semaphore).expect("a known semaphore");
                config.max = Count::new(*max).expect("a positive maximum");
                let changes = handle.reconfigure(Settings::default(), &self.semaphores).await;
                assert_eq!(changes.expect("nothing is removed").changed, [semaphore.as_str()]);
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
            act => unreachable!("{act:?} cannot be played"),
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
        let (handle, id, semaphore) = (self.handle.clone(), self.id(*peer), semaphore.clone());
        let request = tokio::spawn(async move { handle.acquire(id, &semaphore, request).await });
        settle().await;
        if request.is_finished() {
            return answer(request).await.map(str::to_owned);
        }
        self.open.push((*peer, request));
        Ok("waits".to_owned())
    }
}

impl Subject for Runtime {
    fn can_play(act: &Act) -> bool {
        !matches!(
            act,
            Act::Configure(..) | Act::RemoveSemaphore(_) | Act::ResumeGrants | Act::SuspendGrants
        )
    }

    async fn perform(&mut self, act: &Act) -> String {
        let answer = self.act(act).await.unwrap_or_else(|error| error.code().to_owned());
        settle().await;
        answer
    }

    async fn advance_to(&mut self, at: Duration) {
        sleep(at - self.now).await;
        self.now = at;
        settle().await;
    }

    async fn take_answers(&mut self) -> Vec<(Peer, String)> {
        let mut answers = Vec::new();
        for (peer, request) in self.open.extract_if(.., |(_, request)| request.is_finished()) {
            answers.push((peer, answer(request).await.unwrap_or_else(Error::code).to_owned()));
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

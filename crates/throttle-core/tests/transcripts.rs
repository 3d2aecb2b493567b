//! The transcripts, played on the core alone. Here a request that stays open is what an embedder
//! makes of it: it listens for events and ends its wait when its time is over.

use std::{collections::BTreeMap, time::Duration};

use futures_util::FutureExt as _;
use throttle_core::{
    Admission, CancelCause, Count, Error, Event, Level, LockRequest, PeerId, Restoration,
    SemaphoreId, Sequence, Settings, Throttle, Ticket, Time,
};
use throttle_transcripts::{Act, Peer, Standing, Subject, play};

#[path = "../../throttle-transcripts/corpus/mod.rs"]
mod corpus;

fn check(transcript: expect_test::Expect) {
    let played = play(transcript.data(), Core::start).now_or_never();
    transcript.assert_eq(&played.expect("the core never waits"));
}

struct Core {
    throttle: Throttle,
    names: BTreeMap<String, SemaphoreId>,
    now: Time,
    open: Vec<OpenRequest>,
    heard: Vec<(Peer, String)>,
}

struct OpenRequest {
    peer: Peer,
    ticket: Ticket,
    until: Time,
}

impl Core {
    fn start(semaphores: Vec<(String, u64, i32)>) -> Self {
        let mut throttle = Throttle::new(Settings::default());
        let names = semaphores.into_iter().map(|(name, max, level)| {
            let max = Count::new(max).expect("a positive maximum");
            (name, throttle.add_semaphore(Time::ZERO, max, Level(level)))
        });
        let names = names.collect();
        Self { throttle, names, now: Time::ZERO, open: Vec::new(), heard: Vec::new() }
    }

    fn semaphore(&self, name: &str) -> Result<SemaphoreId, Error> {
        self.names.get(name).copied().ok_or(Error::UnknownSemaphore)
    }

    fn act(&mut self, act: &Act) -> Result<String, Error> {
        let now = self.now;
        let ok = |()| "ok".to_owned();
        match act {
            Act::Acquire { .. } => self.acquire(act),
            Act::Ask(peer) => self.throttle.is_acquired(id(*peer)).map(|free| free.to_string()),
            Act::HangUp(peer) => {
                for broken in self.open.extract_if(.., |request| request.peer == *peer) {
                    self.throttle.park(now, id(*peer), broken.ticket);
                }
                Ok(ok(()))
            }
            Act::Heartbeat(peer, lease) => self.throttle.heartbeat(now, id(*peer), *lease).map(ok),
            Act::Join(peer, lease) => self.throttle.new_peer(now, id(*peer), *lease, None).map(ok),
            Act::Leave(peer, number) => {
                let sequence = number.and_then(Sequence::new);
                Ok(self.throttle.remove_peer(now, id(*peer), sequence).to_string())
            }
            Act::Release(peer, name, number) => {
                let semaphore = self.semaphore(name)?;
                let sequence = number.and_then(Sequence::new);
                self.throttle.release(now, id(*peer), semaphore, sequence).map(|_| ok(()))
            }
            Act::Remainder(name) => {
                let status = self.throttle.semaphore_status(self.semaphore(name)?)?;
                Ok(status.remainder().to_string())
            }
            Act::Resize(name, max) => {
                let max = Count::new(*max).expect("a positive maximum");
                self.throttle.resize(now, self.semaphore(name)?, max).map(ok)
            }
            Act::Restore(peer, expires_in, locks, number) => {
                let locks = locks
                    .iter()
                    .map(|(name, &count)| Ok((self.semaphore(name)?, Count::try_from(count)?)));
                let locks = locks.collect::<Result<_, Error>>()?;
                let (peer, expires_in) = (id(*peer), *expires_in);
                let (labels, sequence) = (None, number.and_then(Sequence::new));
                let restoration = Restoration { peer, expires_in, locks, labels, sequence };
                self.throttle.restore(now, restoration).map(ok)
            }
            Act::Wait => Ok(ok(())),
        }
    }

    fn acquire(&mut self, act: &Act) -> Result<String, Error> {
        let Act::Acquire { peer, semaphore, count, lease, blocking, number } = act else {
            unreachable!()
        };
        let request = LockRequest {
            semaphore: self.semaphore(semaphore)?,
            count: Count::try_from(*count)?,
            expires_in: *lease,
            attended: blocking.is_some(),
            sequence: number.and_then(Sequence::new),
        };
        Ok(match (self.throttle.acquire(self.now, id(*peer), request)?, blocking) {
            (Admission::Granted { .. }, _) => "granted".to_owned(),
            (Admission::Queued { ticket, .. }, Some(time)) => {
                self.open.push(OpenRequest { peer: *peer, ticket, until: self.now + *time });
                "waits".to_owned()
            }
            (Admission::Queued { .. }, None) => "queued".to_owned(),
        })
    }

    /// Passes on the news to the open requests that they concern.
    fn listen(&mut self) {
        while let Some(event) = self.throttle.poll_event() {
            let (peer, news) = match event {
                Event::Granted { peer, .. } => (peer, "granted"),
                Event::Cancelled { peer, cause, .. } => {
                    let news = match cause {
                        CancelCause::NeverAcquirable { .. } => "never_acquirable",
                        CancelCause::PeerGone => "unknown_peer",
                        CancelCause::Abandoned | CancelCause::Withdrawn => "cancelled",
                    };
                    (peer, news)
                }
                _ => continue,
            };
            let peer = Peer(peer.get());
            for _ in self.open.extract_if(.., |request| request.peer == peer) {
                self.heard.push((peer, news.to_owned()));
            }
        }
        self.throttle.validate();
    }
}

impl Subject for Core {
    async fn perform(&mut self, act: &Act) -> String {
        let answer = self.act(act).unwrap_or_else(|error| error.code().to_owned());
        self.listen();
        // A lease of no time ends right behind the answer.
        self.throttle.expire(self.now);
        self.listen();
        answer
    }

    async fn pass(&mut self, at: Duration) {
        let at = Time::ZERO + at;
        loop {
            let patience = self.open.iter().map(|request| request.until).min();
            let next = self.throttle.poll_timeout().into_iter().chain(patience).min();
            let Some(next) = next.filter(|&next| next <= at) else {
                break;
            };
            self.now = self.now.max(next);
            self.throttle.expire(self.now);
            self.listen();
            if let Some(over) = self.open.iter().position(|request| request.until <= self.now) {
                let OpenRequest { peer, ticket, .. } = self.open.remove(over);
                let pending = self.throttle.end_wait(self.now, id(peer), ticket);
                assert!(pending.is_some(), "it was still open");
                self.heard.push((peer, "queued".to_owned()));
                self.listen();
            }
        }
        self.now = at;
        self.throttle.expire(at);
        self.listen();
    }

    async fn heard(&mut self) -> Vec<(Peer, String)> {
        std::mem::take(&mut self.heard)
    }

    async fn standing(&mut self, peer: Peer) -> Standing {
        self.throttle.expire(self.now);
        self.listen();
        let Ok(status) = self.throttle.peer_status(id(peer)) else {
            return Standing::default();
        };
        let name =
            |id| self.names.iter().find_map(|(name, own)| (*own == id).then(|| name.clone()));
        Standing {
            alive: true,
            held: status.held.iter().filter_map(|lock| name(lock.semaphore)).collect(),
            pending: status.pending.and_then(|lock| name(lock.semaphore)),
        }
    }
}

fn id(peer: Peer) -> PeerId {
    PeerId::new(peer.0).expect("peers count from one")
}

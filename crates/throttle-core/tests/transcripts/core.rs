//! The machine as a subject of the player. Open requests are simulated the way an embedder handles them: an event
//! answers them, or `end_wait` when their time is over.

use std::{collections::BTreeMap, time::Duration};

use throttle_core::{
    Admission, CancelCause, Count, Error, Event, Labels, Level, LockRequest, PeerId, Restoration,
    SemaphoreId, Sequence, Settings, Throttle, Ticket, Time,
};
use throttle_transcripts::{Act, Peer, PeerState, Subject};

use crate::stop::Stop;

pub(crate) struct Core {
    pub(crate) throttle: Throttle,
    pub(crate) names: BTreeMap<String, SemaphoreId>,
    pub(crate) now: Time,
    pub(crate) open: Vec<OpenRequest>,
    pub(crate) answers: Vec<(Peer, String)>,
    /// What happens before which line.
    pub(crate) stop: Option<Stop>,
    /// How many lines were played.
    pub(crate) lines: usize,
}

pub(crate) struct OpenRequest {
    pub(crate) peer: Peer,
    pub(crate) ticket: Ticket,
    until: Time,
}

impl Core {
    pub(crate) fn start(semaphores: Vec<(String, u64, i32)>) -> Self {
        let mut throttle = Throttle::new(Settings::default());
        let names = semaphores.into_iter().map(|(name, max, level)| {
            let max = Count::new(max).expect("a positive maximum");
            (name, throttle.add_semaphore(Time::ZERO, max, Level(level)))
        });
        let names = names.collect();
        let (open, answers) = (Vec::new(), Vec::new());
        Self { throttle, names, now: Time::ZERO, open, answers, stop: None, lines: 0 }
    }

    fn semaphore(&self, name: &str) -> Result<SemaphoreId, Error> {
        self.names.get(name).copied().ok_or(Error::UnknownSemaphore)
    }

    fn act(&mut self, act: &Act) -> Result<String, Error> {
        let now = self.now;
        let ok = |()| "ok".to_owned();
        match act {
            Act::Acquire { .. } => self.acquire(act),
            Act::IsAcquired(peer) => {
                self.throttle.is_acquired(id(*peer)).map(|free| free.to_string())
            }
            Act::Disconnect(peer) => {
                for broken in self.open.extract_if(.., |request| request.peer == *peer) {
                    self.throttle.park(now, id(*peer), broken.ticket);
                }
                Ok(ok(()))
            }
            Act::Heartbeat(peer, lease) => self.throttle.heartbeat(now, id(*peer), *lease).map(ok),
            Act::NewPeer(peer, lease) => self.throttle.new_peer(now, id(*peer), *lease).map(ok),
            Act::RemovePeer(peer, sequence) => {
                let sequence = sequence.and_then(Sequence::new);
                Ok(self.throttle.remove_peer(now, id(*peer), sequence).to_string())
            }
            Act::Release(peer, name, sequence) => {
                let semaphore = self.semaphore(name)?;
                let sequence = sequence.and_then(Sequence::new);
                self.throttle.release(now, id(*peer), semaphore, sequence).map(|_| ok(()))
            }
            Act::Remainder(name) => {
                let status = self.throttle.semaphore_status(self.semaphore(name)?)?;
                Ok(status.remainder().to_string())
            }
            Act::Restore(peer, expires_in, locks, sequence) => {
                let locks = locks
                    .iter()
                    .map(|(name, &count)| Ok((self.semaphore(name)?, Count::try_from(count)?)));
                let locks = locks.collect::<Result<_, Error>>()?;
                let (peer, expires_in) = (id(*peer), *expires_in);
                let (labels, sequence) = (Labels::default(), sequence.and_then(Sequence::new));
                let restoration = Restoration { peer, expires_in, locks, labels, sequence };
                self.throttle.restore(now, restoration).map(ok)
            }
            Act::Wait => Ok(ok(())),
            Act::Configure(..)
            | Act::RemoveSemaphore(_)
            | Act::Resize(..)
            | Act::ResumeGrants
            | Act::SuspendGrants => self.configure(act),
        }
    }

    fn configure(&mut self, act: &Act) -> Result<String, Error> {
        let now = self.now;
        let ok = |()| "ok".to_owned();
        match act {
            Act::Configure(name, max, level) => {
                let (max, level) = (Count::new(*max).expect("a positive maximum"), Level(*level));
                let Some(&id) = self.names.get(name) else {
                    let id = self.throttle.add_semaphore(now, max, level);
                    self.names.insert(name.clone(), id);
                    return Ok(ok(()));
                };
                let in_force = self.throttle.reinstate_semaphore(now, id, max, level)?;
                Ok(if in_force { ok(()) } else { "deferred".to_owned() })
            }
            Act::RemoveSemaphore(name) => {
                if self.throttle.remove_semaphore(now, self.semaphore(name)?)? {
                    self.names.remove(name);
                    return Ok("removed".to_owned());
                }
                Ok("retired".to_owned())
            }
            Act::ResumeGrants => {
                self.throttle.resume_grants(now);
                Ok(ok(()))
            }
            Act::SuspendGrants => {
                self.throttle.suspend_grants(now);
                Ok(ok(()))
            }
            Act::Resize(name, max) => {
                let max = Count::new(*max).expect("a positive maximum");
                self.throttle.resize(now, self.semaphore(name)?, max).map(ok)
            }
            _ => unreachable!("{act:?} is no configuration"),
        }
    }

    fn acquire(&mut self, act: &Act) -> Result<String, Error> {
        let Act::Acquire { peer, semaphore, count, expires_in, block_for, sequence } = act else {
            unreachable!()
        };
        let request = LockRequest {
            semaphore: self.semaphore(semaphore)?,
            count: Count::try_from(*count)?,
            expires_in: *expires_in,
            attended: block_for.is_some(),
            sequence: sequence.and_then(Sequence::new),
        };
        Ok(match (self.throttle.acquire(self.now, id(*peer), request)?, block_for) {
            (Admission::Granted { .. }, _) => "granted".to_owned(),
            (Admission::Queued { ticket, .. }, Some(time)) => {
                self.open.push(OpenRequest { peer: *peer, ticket, until: self.now + *time });
                "waits".to_owned()
            }
            (Admission::Queued { .. }, None) => "queued".to_owned(),
        })
    }

    /// Answers the open requests that events end.
    pub(crate) fn process_events(&mut self) {
        while let Some(event) = self.throttle.poll_event() {
            let (peer, answer) = match event {
                Event::Granted { peer, .. } => (peer, "granted"),
                Event::Cancelled { peer, cause, .. } => {
                    let answer = match cause {
                        CancelCause::NeverAcquirable { .. } => "never_acquirable",
                        CancelCause::PeerGone => "unknown_peer",
                        CancelCause::SemaphoreRetired => "unknown_semaphore",
                        CancelCause::Abandoned | CancelCause::Withdrawn => "cancelled",
                    };
                    (peer, answer)
                }
                Event::SemaphoreRemoved { semaphore } => {
                    self.names.retain(|_, id| *id != semaphore);
                    continue;
                }
                _ => continue,
            };
            let peer = Peer(peer.get());
            for _ in self.open.extract_if(.., |request| request.peer == peer) {
                self.answers.push((peer, answer.to_owned()));
            }
        }
        self.throttle.validate();
    }
}

impl Subject for Core {
    async fn perform(&mut self, act: &Act) -> String {
        self.lines += 1;
        let answer = self.act(act).unwrap_or_else(|error| error.code().to_owned());
        self.process_events();
        // A lease of zero length ends right after the answer.
        self.throttle.expire(self.now);
        self.process_events();
        answer
    }

    async fn advance_to(&mut self, at: Duration) {
        if let Some(stop) = self.stop.take_if(|stop| stop.after == self.lines) {
            stop.happen(self);
        }
        let at = Time::ZERO + at;
        loop {
            let end_of_wait = self.open.iter().map(|request| request.until).min();
            let next = self.throttle.poll_timeout().into_iter().chain(end_of_wait).min();
            let Some(next) = next.filter(|&next| next <= at) else {
                break;
            };
            self.now = self.now.max(next);
            self.throttle.expire(self.now);
            self.process_events();
            if let Some(index) = self.open.iter().position(|request| request.until <= self.now) {
                let OpenRequest { peer, ticket, .. } = self.open.remove(index);
                let pending = self.throttle.end_wait(self.now, id(peer), ticket);
                assert!(pending.is_some(), "it was still open");
                self.answers.push((peer, "queued".to_owned()));
                self.process_events();
            }
        }
        self.now = at;
        self.throttle.expire(at);
        self.process_events();
    }

    async fn take_answers(&mut self) -> Vec<(Peer, String)> {
        std::mem::take(&mut self.answers)
    }

    async fn peer_state(&mut self, peer: Peer) -> PeerState {
        self.throttle.expire(self.now);
        self.process_events();
        let Ok(status) = self.throttle.peer_status(id(peer), 0) else {
            return PeerState::default();
        };
        let name =
            |id| self.names.iter().find_map(|(name, own)| (*own == id).then(|| name.clone()));
        PeerState {
            exists: true,
            held: status.held.iter().filter_map(|lock| name(lock.semaphore)).collect(),
            pending: status.pending.and_then(|lock| name(lock.semaphore)),
        }
    }
}

pub(crate) fn id(peer: Peer) -> PeerId {
    PeerId::new(peer.0).expect("peers count from one")
}

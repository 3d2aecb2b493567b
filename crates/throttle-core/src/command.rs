//! Operations as data, for simulation, fuzzing and tools.

use core::time::Duration;

use crate::{
    Admission, Count, Error, Level, LockRequest, NewPeer, PeerId, Release, Restoration,
    SemaphoreId, Sequence, Throttle, Ticket, Time,
};

/// An operation with its arguments. Each variant calls the method of the same name.
#[expect(missing_docs, reason = "fields are the arguments of the method")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// [`Throttle::acquire`]
    Acquire { peer: PeerId, request: LockRequest },
    /// [`Throttle::add_semaphore`]
    AddSemaphore { max: Count, level: Level },
    /// [`Throttle::catch_up`]
    CatchUp { budget: u32 },
    /// [`Throttle::end_wait`]
    EndWait { peer: PeerId, ticket: Ticket },
    /// [`Throttle::expire`]
    Expire,
    /// [`Throttle::heartbeat`]
    Heartbeat { peer: PeerId, expires_in: Duration },
    /// [`Throttle::new_peer`]
    NewPeer { peer: PeerId, attributes: NewPeer },
    /// [`Throttle::park`]
    Park { peer: PeerId, ticket: Ticket },
    /// [`Throttle::reinstate_semaphore`]
    ReinstateSemaphore { semaphore: SemaphoreId, max: Count, level: Level },
    /// [`Throttle::release`]
    Release { peer: PeerId, semaphore: SemaphoreId, sequence: Option<Sequence> },
    /// [`Throttle::remove_peer`]
    RemovePeer { peer: PeerId, sequence: Option<Sequence> },
    /// [`Throttle::remove_semaphore`]
    RemoveSemaphore { semaphore: SemaphoreId },
    /// [`Throttle::resize`]
    Resize { semaphore: SemaphoreId, max: Count },
    /// [`Throttle::restore`]
    Restore(Restoration),
    /// [`Throttle::resume_some_grants`]
    ResumeSomeGrants { budget: u32 },
    /// [`Throttle::set_level`]
    SetLevel { semaphore: SemaphoreId, level: Level },
    /// [`Throttle::suspend_grants`]
    SuspendGrants,
}

/// The result of an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// To [`Command::AddSemaphore`].
    Added(SemaphoreId),
    /// To [`Command::Acquire`].
    Admitted(Admission),
    /// To [`Command::CatchUp`]: the instant that was reached.
    CaughtUp(Time),
    /// To all commands without a result.
    Done,
    /// To [`Command::EndWait`]: the count still pending, if the wait was still open.
    Ended(Option<Count>),
    /// To [`Command::Expire`]: whether anything happened.
    Expired(bool),
    /// To commands that may be deferred, [`Command::ReinstateSemaphore`], [`Command::RemoveSemaphore`] and
    /// [`Command::SetLevel`]: whether the change is in force.
    InForce(bool),
    /// To [`Command::Release`].
    Released(Release),
    /// To [`Command::RemovePeer`]: whether the peer existed.
    Removed(bool),
    /// To [`Command::ResumeSomeGrants`]: whether some grants are still suspended.
    Resumed(bool),
}

impl Throttle {
    /// Calls the method of the same name.
    ///
    /// # Errors
    ///
    /// Those of the method.
    pub fn apply(&mut self, now: Time, command: Command) -> Result<Reply, Error> {
        let done = |()| Reply::Done;
        match command {
            Command::Acquire { peer, request } => {
                self.acquire(now, peer, request).map(Reply::Admitted)
            }
            Command::AddSemaphore { max, level } => {
                Ok(Reply::Added(self.add_semaphore(now, max, level)))
            }
            Command::CatchUp { budget } => Ok(Reply::CaughtUp(self.catch_up(now, budget))),
            Command::EndWait { peer, ticket } => Ok(Reply::Ended(self.end_wait(now, peer, ticket))),
            Command::Expire => Ok(Reply::Expired(self.expire(now))),
            Command::Heartbeat { peer, expires_in } => {
                self.heartbeat(now, peer, expires_in).map(done)
            }
            Command::NewPeer { peer, attributes } => self.new_peer(now, peer, attributes).map(done),
            Command::Park { peer, ticket } => {
                self.park(now, peer, ticket);
                Ok(Reply::Done)
            }
            Command::ReinstateSemaphore { semaphore, max, level } => {
                self.reinstate_semaphore(now, semaphore, max, level).map(Reply::InForce)
            }
            Command::Release { peer, semaphore, sequence } => {
                self.release(now, peer, semaphore, sequence).map(Reply::Released)
            }
            Command::RemovePeer { peer, sequence } => {
                Ok(Reply::Removed(self.remove_peer(now, peer, sequence)))
            }
            Command::RemoveSemaphore { semaphore } => {
                self.remove_semaphore(now, semaphore).map(Reply::InForce)
            }
            Command::Resize { semaphore, max } => self.resize(now, semaphore, max).map(done),
            Command::Restore(restoration) => self.restore(now, restoration).map(done),
            Command::ResumeSomeGrants { budget } => {
                Ok(Reply::Resumed(self.resume_some_grants(now, budget)))
            }
            Command::SetLevel { semaphore, level } => {
                self.set_level(now, semaphore, level).map(Reply::InForce)
            }
            Command::SuspendGrants => {
                self.suspend_grants(now);
                Ok(Reply::Done)
            }
        }
    }
}

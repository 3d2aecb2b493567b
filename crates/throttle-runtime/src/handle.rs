//! One method for each operation.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use throttle_core::{Admission, Count, Error as Refused, Labels, PeerId, Release, Sequence, Time};

use crate::{
    error::Error,
    failure::Failure,
    open_waits::OpenWaits,
    peer_log,
    service::Service,
    stalls::Stalls,
    state::{Phase, State},
    wait::Wait,
};

/// A running semaphore service. Clones share it; it ends with the last of them.
///
/// Once it has [failed](Handle::failed), operations answer [`Error::Failed`], and those that cannot fail
/// panic, for nobody knows what is true then.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) service: Arc<Service>,
}

/// What a peer asks for with [`Handle::acquire`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockRequest {
    /// How much.
    pub count: Count,
    /// Sets the length of the lease and lets it begin anew first, also if the request is refused.
    pub expires_in: Option<Duration>,
    /// How long to wait for the lock. `None` and zero: not at all.
    pub block_for: Option<Duration>,
    /// The number of the request, if the client numbers them.
    pub sequence: Option<Sequence>,
}

impl LockRequest {
    /// Asks for `count` and an answer at once, without renewing the lease.
    pub const fn now(count: Count) -> Self {
        Self { count, expires_in: None, block_for: None, sequence: None }
    }
}

/// A peer that comes back with what it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restoration {
    /// The id it had.
    pub peer: PeerId,
    /// The length of its lease from now on.
    pub expires_in: Duration,
    /// All it holds.
    pub locks: BTreeMap<String, Count>,
    /// What it says about itself.
    pub labels: Labels,
    /// The number of the request, if the client numbers them.
    pub sequence: Option<Sequence>,
}

impl Handle {
    /// Creates a peer without locks and returns its id, which nobody can guess.
    ///
    /// # Errors
    ///
    /// `too_many_peers`, `too_many_label_bytes`
    pub async fn new_peer(&self, expires_in: Duration, labels: Labels) -> Result<PeerId, Error> {
        let labels = boxed(labels);
        let peer = self.attempt(|state, now| {
            let mut id = state.entropy.peer_id();
            while state.throttle.has_peer(id) {
                id = state.entropy.peer_id();
            }
            state.throttle.new_peer(now, id, expires_in, labels).map(|()| id)
        })?;
        tracing::debug!(target: peer_log::TARGET, %peer, ?expires_in, "peer created");
        Ok(peer)
    }

    /// Sets the length of a peer's lease and lets it begin anew.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub async fn heartbeat(&self, peer: PeerId, expires_in: Duration) -> Result<(), Error> {
        self.attempt(|state, now| state.throttle.heartbeat(now, peer, expires_in))
    }

    /// Asks for a lock and waits for it at most as long as asked for.
    ///
    /// Safe to repeat: who asks again for what they hold is told so again, and who waits keeps their
    /// place. The lease stands still during the wait and begins anew with the answer. A future that
    /// is dropped while it waits parks the waiter: it keeps its place, but is granted nothing and
    /// holds nobody up, unless the peer asks again within [`Settings::abandoned_after`]; after that
    /// the pending lock is cancelled.
    ///
    /// Beyond the [limit of open waits](Handle::limit_open_waits) it is answered after a second at most.
    ///
    /// # Errors
    ///
    /// - `unknown_semaphore`, `unknown_peer`, `stale_request`, `never_acquirable`,
    ///   `lock_hierarchy_violation`, `already_pending`, `too_many_waiters`: refused at once.
    /// - `unknown_peer`, `never_acquirable`, `cancelled`: the wait is over because the peer is gone,
    ///   the maximum was lowered, or the peer withdrew its request.
    pub async fn acquire(
        &self,
        peer: PeerId,
        semaphore: &str,
        request: LockRequest,
    ) -> Result<Admission, Error> {
        let LockRequest { count, expires_in, block_for, sequence } = request;
        let block_for = block_for.filter(|time| !time.is_zero());
        let mut wait = Wait::new(&self.service, peer);
        let admission = self.attempt(|state, now| {
            let semaphore = state.names.id(semaphore)?;
            let block_for = block_for.filter(|_| state.phase == Phase::Leading);
            let attended = block_for.is_some();
            let request =
                throttle_core::LockRequest { semaphore, count, expires_in, attended, sequence };
            let admission = state.throttle.acquire(now, peer, request)?;
            if let (Admission::Queued { ticket, .. }, Some(block_for)) = (admission, block_for) {
                let present = state.lease_clock.present();
                wait.begin(ticket, state.waits.add(present, peer, ticket, block_for));
            }
            Ok::<_, Refused>(admission)
        })?;
        if wait.is_open() { wait.admission().await } else { Ok(admission) }
    }

    /// Gives back a held lock, or cancels the pending lock, of a peer on this semaphore; nothing else.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`, `unknown_peer`, `stale_request`
    pub async fn release(
        &self,
        peer: PeerId,
        semaphore: &str,
        sequence: Option<Sequence>,
    ) -> Result<Release, Error> {
        self.attempt(|state, now| {
            let semaphore = state.names.id(semaphore)?;
            state.throttle.release(now, peer, semaphore, sequence)
        })
    }

    /// Removes a peer with all its locks, held and pending. Returns whether there was such a peer.
    ///
    /// A request with a lower sequence number that arrives later does not restore the peer. For how long
    /// the numbers of removed peers are kept is described at
    /// [`Throttle::remove_peer`](throttle_core::Throttle::remove_peer).
    ///
    /// # Errors
    ///
    /// Only that the service has failed.
    pub async fn remove_peer(
        &self,
        peer: PeerId,
        sequence: Option<Sequence>,
    ) -> Result<bool, Error> {
        self.attempt(|state, now| Ok::<_, Error>(state.throttle.remove_peer(now, peer, sequence)))
    }

    /// Creates a peer under the id it had, holding exactly the locks it names, even above a maximum.
    ///
    /// If the peer lives with exactly these locks and waits for none, its lease is renewed.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`, `stale_request`, `restore_conflict`, `lock_count_too_large`, `too_many_peers`,
    /// `too_many_label_bytes`
    pub async fn restore(&self, restoration: Restoration) -> Result<(), Error> {
        let Restoration { peer, expires_in, locks, labels, sequence } = restoration;
        // A peer may have very many locks, so their names are looked up outside of the critical section.
        // An id is never used again, so one that is no more by then is refused.
        let names = self.attempt(|state, _| Ok::<_, Refused>(Arc::clone(&state.names)))?;
        let ids = locks.iter().map(|(name, &count)| Ok((names.id(name)?, count)));
        let restoration = throttle_core::Restoration {
            peer,
            expires_in,
            locks: ids.collect::<Result<_, Refused>>()?,
            labels: boxed(labels),
            sequence,
        };
        self.attempt(|state, now| state.throttle.restore(now, restoration))?;
        if tracing::enabled!(target: peer_log::TARGET, tracing::Level::DEBUG) {
            let counts = locks.iter().map(|(name, count)| (name, count.get()));
            let locks = counts.collect::<BTreeMap<_, _>>();
            tracing::debug!(target: peer_log::TARGET, %peer, ?expires_in, ?locks, "peer restored");
        }
        Ok(())
    }

    /// For how long the service has been running, stalls included.
    pub fn uptime(&self) -> Duration {
        self.service.clock.now() - Time::ZERO
    }

    /// The times in which the service was not attentive, which no lease was charged with.
    ///
    /// More than a second in which it neither answered nor got round to its timer is a stall: its
    /// process or machine stood still, or its runtime was blocked.
    pub fn stalls(&self) -> Stalls {
        self.operate(|state, _| state.lease_clock.stalls())
    }

    /// Sets how many requests may wait for as long as they want. At the start there is no limit.
    ///
    /// A request beyond the limit is a *short* wait. It keeps its place in the queue and can be granted
    /// its lock like any other one, but is answered [`Admission::Queued`] after a second, if not
    /// before, and has to ask again. Requests that wait already go on as before.
    pub fn limit_open_waits(&self, limit: usize) {
        self.operate(|state, _| state.waits.set_limit(limit));
    }

    /// Ends the short wait that began first: it is answered [`Admission::Queued`], and its connection
    /// is free. Returns whether one was ended.
    ///
    /// For a server whose connections run short. None is ended within 100 ms after it began, for the
    /// client may ask again at once. O(log n). Does nothing if the service has failed.
    pub fn end_short_wait(&self) -> bool {
        let ended =
            self.service.try_with_state(|state, now, effects| state.end_short_wait(now, effects));
        ended.unwrap_or(false)
    }

    /// How many requests wait for their answer, and how many may do so.
    pub fn open_waits(&self) -> OpenWaits {
        self.operate(|state, _| state.waits.status())
    }

    /// From now on nobody waits: every open request is answered that its lock is pending, at once,
    /// and so are those to come. Everything else goes on, also between the steps in which very many
    /// requests are ended.
    pub fn drain(&self) {
        // Of a service that has failed nobody waits any more.
        self.service.with_state_in_steps(State::drain);
    }

    /// Whether [`Handle::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.operate(|state, _| state.phase == Phase::Draining)
    }

    /// Resolves when the service is broken; never, if it ends in good order.
    ///
    /// A server should end its process then, as fast as it can. The future does not keep the service
    /// alive.
    pub fn failed(&self) -> impl Future<Output = Failure> + Send + use<> {
        let mut failure = self.service.failure.subscribe();
        async move {
            let failure = failure.wait_for(Option::is_some).await.ok().and_then(|failure| *failure);
            match failure {
                Some(failure) => failure,
                None => std::future::pending().await,
            }
        }
    }

    /// What broke the service, if it is broken. A health check should ask.
    pub fn failure(&self) -> Option<Failure> {
        *self.service.failure.borrow()
    }

    /// Whose turn it is to reconfigure.
    pub(crate) fn reconfiguring(&self) -> &Mutex<()> {
        &self.service.reconfiguring
    }

    /// The same as [`operate`](Self::operate), for what may fail: it does if an earlier operation panicked.
    pub(crate) fn attempt<R, E: Into<Error>>(
        &self,
        operation: impl FnOnce(&mut State, Time) -> Result<R, E>,
    ) -> Result<R, Error> {
        let result = self.service.try_with_state(|state, now, _| operation(state, now));
        result.ok_or(Error::Failed)?.map_err(Into::into)
    }

    /// Does something with the state at the present time, and spreads the effects of what happened.
    pub(crate) fn operate<R>(&self, operation: impl FnOnce(&mut State, Time) -> R) -> R {
        self.service.with_state(|state, now, _| operation(state, now))
    }
}

fn boxed(labels: Labels) -> Option<Box<Labels>> {
    (!labels.is_empty()).then(|| Box::new(labels))
}

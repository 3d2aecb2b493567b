//! The handle of a running service: one method for each operation on peers and locks.
//!
//! Other modules add methods: `builder` and `start` those that start it, `inspect` those that read it, `reconfigure`
//! those that change its semaphores, `recovery` and `save` those about a state that survives.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use throttle_core::{
    Admission, Count, Error as Refused, Labels, NewPeer, PeerId, Release, Sequence,
};

use crate::{
    error::Error,
    failure::Failure,
    journal::Shows,
    open_waits::OpenWaits,
    peer_log,
    service::Service,
    stalls::Stalls,
    state::{Phase, State},
    wait::Wait,
};

/// A running semaphore service. Clones share it; it ends when the last of them is dropped.
///
/// Once it has [failed](Handle::failed), operations return [`Error::Failed`], or [`Error::StoreFailed`] if the store
/// is the reason. After an operation has panicked, those that return no error panic, because the state can no longer
/// be trusted.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) service: Arc<Service>,
}

/// A request for a lock, for [`Handle::acquire`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockRequest {
    /// How much of the semaphore to lock.
    pub count: Count,
    /// Renews the lease with this length before the lock is decided, even if the lock is then refused.
    pub expires_in: Option<Duration>,
    /// How long to wait for the lock at most. With `None` or zero the request does not wait.
    pub block_for: Option<Duration>,
    /// The sequence number of the request, if the client numbers its requests.
    pub sequence: Option<Sequence>,
}

impl LockRequest {
    /// A request for `count` that does not wait and does not renew the lease.
    pub const fn now(count: Count) -> Self {
        Self { count, expires_in: None, block_for: None, sequence: None }
    }
}

/// A peer that comes back with the locks it holds.
pub type Restoration = throttle_core::Restoration<String>;

impl Handle {
    /// Creates a peer without locks and returns its id, which is drawn at random.
    ///
    /// # Errors
    ///
    /// `too_many_peers`, `too_many_label_bytes`
    pub async fn new_peer(&self, expires_in: Duration, labels: Labels) -> Result<PeerId, Error> {
        let new_peer = NewPeer { expires_in, labels };
        let answer = self.service.answer(|state, now| {
            let mut id = state.entropy.peer_id();
            while state.throttle.has_peer(id) {
                id = state.entropy.peer_id();
            }
            state.throttle.new_peer(now, id, new_peer).map(|()| id)
        });
        let peer = answer.await?;
        tracing::debug!(target: peer_log::TARGET, %peer, ?expires_in, "peer created");
        Ok(peer)
    }

    /// Renews the lease of a peer: it now ends `expires_in` from now.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub async fn heartbeat(&self, peer: PeerId, expires_in: Duration) -> Result<(), Error> {
        let shows = |result: &Result<(), Refused>| match result {
            Ok(()) => Shows::Peer(peer),
            Err(_) => Shows::Everything,
        };
        self.service
            .answer_showing(shows, |state, now| state.throttle.heartbeat(now, peer, expires_in))
            .await
    }

    /// Requests a lock and waits for it for at most `block_for`.
    ///
    /// Safe to repeat: a held lock is reported as held again, and a pending one keeps its place in the
    /// queue. The lease does not run during the wait; it begins again, at its full length, with the answer.
    ///
    /// Dropping the future during the wait parks the waiter: it keeps its place, but it is granted nothing
    /// and blocks nobody behind it. If the peer does not repeat the request within
    /// [`Settings::abandoned_after`](throttle_core::Settings::abandoned_after), the pending lock is
    /// cancelled.
    ///
    /// A request beyond the [limit of open waits](Handle::limit_open_waits) is answered after a second at
    /// most.
    ///
    /// # Errors
    ///
    /// - At once: `unknown_semaphore`, `unknown_peer`, `stale_request`, `never_acquirable`,
    ///   `lock_hierarchy_violation`, `already_pending`, `too_many_waiters`.
    /// - During the wait: `unknown_peer` if the peer expired or was removed, `never_acquirable` if the
    ///   maximum was lowered, `cancelled` if the peer withdrew its request.
    pub async fn acquire(
        &self,
        peer: PeerId,
        semaphore: &str,
        request: LockRequest,
    ) -> Result<Admission, Error> {
        let LockRequest { count, expires_in, block_for, sequence } = request;
        let block_for = block_for.filter(|time| !time.is_zero());
        let mut wait = Wait::new(&self.service, peer);
        // The outcome of a wait is held back by the operation that ends it.
        let shows = |result: &Result<Option<Admission>, Refused>| match result {
            Ok(None) => Shows::Nothing,
            Ok(Some(_)) | Err(_) => Shows::Everything,
        };
        let answer = self.service.answer_showing(shows, |state, now| {
            let semaphore = state.names.id(semaphore)?;
            let block_for = block_for.filter(|_| state.phase == Phase::Leading);
            let attended = block_for.is_some();
            let request =
                throttle_core::LockRequest { semaphore, count, expires_in, attended, sequence };
            let admission = state.throttle.acquire(now, peer, request);
            state.note_sequence(peer, sequence, &admission);
            let admission = admission?;
            if let (Admission::Queued { ticket, .. }, Some(block_for)) = (admission, block_for) {
                let present = state.lease_clock.present();
                wait.begin(ticket, state.waits.add(present, peer, ticket, block_for));
                return Ok(None);
            }
            Ok(Some(admission))
        });
        match answer.await? {
            Some(admission) => Ok(admission),
            None => wait.admission().await,
        }
    }

    /// Releases the held lock of a peer on this semaphore, or cancels its pending one.
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
        self.service
            .answer(|state, now| {
                let semaphore = state.names.id(semaphore)?;
                let released = state.throttle.release(now, peer, semaphore, sequence);
                state.note_sequence(peer, sequence, &released);
                released
            })
            .await
    }

    /// Removes a peer with all its locks, held and pending. Returns whether there was such a peer.
    ///
    /// A request with a lower sequence number that arrives later cannot restore the peer.
    /// [`Throttle::remove_peer`](throttle_core::Throttle::remove_peer) describes how long the numbers of
    /// removed peers are kept.
    ///
    /// # Errors
    ///
    /// Only [`Error::Failed`].
    pub async fn remove_peer(
        &self,
        peer: PeerId,
        sequence: Option<Sequence>,
    ) -> Result<bool, Error> {
        self.service
            .answer(|state, now| {
                let removed = Ok(state.throttle.remove_peer(now, peer, sequence));
                state.note_sequence(peer, sequence, &removed);
                removed
            })
            .await
    }

    /// Creates a peer under its former id, holding exactly the given locks, even above a maximum.
    ///
    /// If the peer exists with exactly these locks and waits for none, only its lease is renewed.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`, `stale_request`, `restore_conflict`, `lock_count_too_large`, `too_many_peers`,
    /// `too_many_label_bytes`
    pub async fn restore(&self, restoration: Restoration) -> Result<(), Error> {
        let Restoration { peer, expires_in, locks, labels, sequence } = restoration;
        // A peer may have very many locks, so their names are looked up outside of the critical section.
        // Ids are never reused, so the id of a semaphore that is removed in between is refused.
        let names = self.service.try_with_state(|state, _, _| Arc::clone(&state.names));
        let names = names?;
        let ids = locks.iter().map(|(name, &count)| Ok((names.id(name)?, count)));
        let restoration = throttle_core::Restoration {
            peer,
            expires_in,
            locks: ids.collect::<Result<_, Refused>>()?,
            labels,
            sequence,
        };
        let answer = self.service.answer(|state, now| {
            let restored = state.throttle.restore(now, restoration);
            if restored.is_ok() {
                state.note_sequence(peer, sequence, &restored);
            }
            restored
        });
        answer.await?;
        if tracing::enabled!(target: peer_log::TARGET, tracing::Level::DEBUG) {
            let counts = locks.iter().map(|(name, count)| (name, count.get()));
            let locks = counts.collect::<BTreeMap<_, _>>();
            tracing::debug!(target: peer_log::TARGET, %peer, ?expires_in, ?locks, "peer restored");
        }
        Ok(())
    }

    /// How long the service has been running, stalls included.
    pub fn uptime(&self) -> Duration {
        self.service.clock.elapsed()
    }

    /// The stalls so far. Leases do not run during a stall.
    ///
    /// A stall is a gap of more than a second in which the service neither ran an operation nor its timer:
    /// its process or machine was suspended, or its runtime was blocked.
    pub fn stalls(&self) -> Stalls {
        self.service.with_state(|state, _, _| state.lease_clock.stalls())
    }

    /// Sets how many requests may wait for their whole `block_for`. A new service has no limit.
    ///
    /// A request beyond the limit is a *short* wait. It is queued and granted like any other, but it is
    /// answered [`Admission::Queued`] after a second at most, and then keeps its place if it is repeated.
    /// Requests that are waiting already are not affected.
    pub fn limit_open_waits(&self, limit: usize) {
        self.service.with_state(|state, _, _| state.waits.set_limit(limit));
    }

    /// Ends the oldest short wait, which is answered [`Admission::Queued`]. Returns whether there was one.
    ///
    /// A server calls this when it runs out of connections. A short wait lasts for 100 ms at least, because
    /// its client may repeat the request immediately. O(log n). Does nothing if the service has failed.
    pub fn end_short_wait(&self) -> bool {
        let ended =
            self.service.try_with_state(|state, now, effects| state.end_short_wait(now, effects));
        ended.unwrap_or(false)
    }

    /// How many requests are waiting, and how many may wait.
    pub fn open_waits(&self) -> OpenWaits {
        self.service.with_state(|state, _, _| state.waits.status())
    }

    /// Ends all waits, and lets no further request wait: both are answered [`Admission::Queued`] at once.
    ///
    /// All other operations work as before. If very many requests are waiting, they are ended in steps, and
    /// other operations run between two steps.
    pub fn drain(&self) {
        // A service that has failed has no waits left, so nothing is to be done then.
        self.service.with_state_in_steps(State::drain);
    }

    /// Whether [`Handle::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.service.with_state(|state, _, _| state.phase != Phase::Leading)
    }

    /// Resolves when the service fails. If the service ends without a failure, it never resolves.
    ///
    /// A server should end its process as soon as this resolves. The future does not keep the service alive.
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

    /// The failure of the service, if it has failed. A health check should call this.
    pub fn failure(&self) -> Option<Failure> {
        *self.service.failure.borrow()
    }
}

//! A request that stays open until its lock is granted.

use throttle_core::{Admission, CancelCause, PeerId, Ticket};
use tokio::time;

use crate::{
    error::Error,
    open_waits::{Outcome, WaitReceiver},
    service::Service,
};

/// A request that may have to wait. Dropping it during the wait parks the waiter: its client hung up.
///
/// It is created before the operation that may queue its lock, so it is never dropped under the mutex.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    service: &'a Service,
    peer: PeerId,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    ticket: Ticket,
    receiver: WaitReceiver,
}

impl<'a> Wait<'a> {
    /// A request that is not waiting yet.
    pub(crate) fn new(service: &'a Service, peer: PeerId) -> Self {
        Self { service, peer, open: None }
    }

    /// Begins the wait, after the state machine has queued the request under `ticket` as attended.
    pub(crate) fn begin(&mut self, ticket: Ticket, receiver: WaitReceiver) {
        self.open = Some(Open { ticket, receiver });
    }

    /// Resolves when the lock is granted or cancelled, when `block_for` has passed, or when the server
    /// drains, whichever comes first.
    ///
    /// # Panics
    ///
    /// If the wait has not begun.
    pub(crate) async fn admission(&mut self) -> Result<Admission, Error> {
        let Self { service, peer, open } = self;
        let Open { ticket, receiver } = open.as_mut().expect("the wait has begun");
        let ticket = *ticket;
        let outcome = match time::timeout(receiver.block_for, &mut receiver.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let pending = service.answer(|state, now| {
                    let pending = state.throttle.end_wait(now, *peer, ticket);
                    if pending.is_some() {
                        state.waits.remove(*peer, receiver.id);
                    }
                    Ok::<_, Error>(pending)
                });
                if let Some(count) = pending.await? {
                    *open = None;
                    return Ok(Admission::Queued { count, ticket });
                }
                // The wait ended in the same instant, and its outcome is being sent.
                (&mut receiver.outcome).await
            }
        };
        *open = None;
        // An operation that ends a wait sends its outcome, unless it panics or the store fails.
        match outcome.map_err(|_| service.why_not_answered())? {
            Outcome::Cancelled(cause) => Err(refusal(cause)),
            Outcome::Granted(count, token) => Ok(Admission::Granted { count, token }),
            Outcome::Queued(count) => Ok(Admission::Queued { count, ticket }),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(Open { ticket, receiver }) = &self.open {
            // Does nothing if the service has failed. This task may be unwinding from that very panic.
            let _ = self.service.try_with_state(|state, now, _| {
                state.throttle.park(now, self.peer, *ticket);
                state.waits.remove(self.peer, receiver.id);
            });
        }
    }
}

/// The error of a wait whose pending lock was cancelled.
fn refusal(cause: CancelCause) -> Error {
    match cause {
        CancelCause::NeverAcquirable { count, max } => {
            throttle_core::Error::NeverAcquirable { count, max }.into()
        }
        CancelCause::PeerGone => throttle_core::Error::UnknownPeer.into(),
        CancelCause::SemaphoreRetired => throttle_core::Error::UnknownSemaphore.into(),
        CancelCause::Abandoned | CancelCause::Withdrawn => Error::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use throttle_core::{Count, Labels, Level, Settings};

    use super::*;
    use crate::{
        handle::{Handle, LockRequest},
        names::SemaphoreConfig,
        state::{DRAINED_IN_A_STEP, State},
    };

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_ended_leaves_nothing_behind() {
        let semaphore = SemaphoreConfig { max: Count::ONE, level: Level(0) };
        let semaphores = BTreeMap::from([("A".to_owned(), semaphore)]);
        let handle = Handle::start(Settings::default(), &semaphores);
        let lease = Duration::from_secs(60);
        let holder = handle.new_peer(lease, Labels::default()).await.unwrap();
        let waiter = handle.new_peer(lease, Labels::default()).await.unwrap();
        handle.acquire(holder, "A", LockRequest::now(Count::ONE)).await.unwrap();

        let second = Duration::from_secs(1);
        let request = LockRequest { block_for: Some(second), ..LockRequest::now(Count::ONE) };
        let admission = handle.acquire(waiter, "A", request).await;
        assert!(matches!(admission, Ok(Admission::Queued { count: Count::ONE, .. })));
        assert_eq!(handle.open_waits().open, 0, "answered");

        let hung_up = time::timeout(second / 2, handle.acquire(waiter, "A", request)).await;
        assert!(hung_up.is_err());
        assert_eq!(handle.open_waits().open, 0, "dropped");
    }

    /// S13: a step does not grow with the number of waits.
    #[tokio::test(start_paused = true)]
    async fn draining_ends_a_bounded_number_of_waits_in_a_step() {
        let semaphore = SemaphoreConfig { max: Count::ONE, level: Level(0) };
        let semaphores = BTreeMap::from([("A".to_owned(), semaphore)]);
        let handle = Handle::start(Settings::default(), &semaphores);
        let request = LockRequest {
            block_for: Some(Duration::from_secs(30)),
            ..LockRequest::now(Count::ONE)
        };
        let waiting = 2 * DRAINED_IN_A_STEP + 1;
        for _ in 0..=waiting {
            let peer = handle.new_peer(Duration::from_secs(60), Labels::default()).await.unwrap();
            let clone = handle.clone();
            tokio::spawn(async move { clone.acquire(peer, "A", request).await });
        }
        while handle.open_waits().open < waiting {
            tokio::task::yield_now().await;
        }
        for left in [DRAINED_IN_A_STEP + 1, 1, 0] {
            let is_more = handle.service.try_with_state(State::drain).unwrap();
            assert_eq!((handle.open_waits().open, is_more), (left, left > 0));
        }
    }
}

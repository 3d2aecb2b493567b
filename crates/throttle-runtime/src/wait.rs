//! A request that stays open until its lock is granted.

use throttle_core::{Admission, CancelCause, PeerId, Ticket};
use tokio::time;

use crate::{
    error::Error,
    open_waits::{Outcome, WaitReceiver},
    service::Service,
};

/// A request of a peer that may have to wait. If it is dropped while it waits, its client went away, and
/// the waiter is parked.
///
/// It is made before the operation that may queue its lock, so that it is dropped after the mutex is free.
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
    /// A request that does not wait yet.
    pub(crate) fn new(service: &'a Service, peer: PeerId) -> Self {
        Self { service, peer, open: None }
    }

    /// The state machine has queued the request under `ticket` as attended.
    pub(crate) fn begin(&mut self, ticket: Ticket, receiver: WaitReceiver) {
        self.open = Some(Open { ticket, receiver });
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Answers when the lock is granted or cancelled, when its time is over, or when the server drains,
    /// whichever is first.
    ///
    /// # Panics
    ///
    /// If it does not wait.
    pub(crate) async fn admission(&mut self) -> Result<Admission, Error> {
        let Self { service, peer, open } = self;
        let Open { ticket, receiver } = open.as_mut().expect("the wait has begun");
        let ticket = *ticket;
        let outcome = match time::timeout(receiver.block_for, &mut receiver.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let pending = service.try_with_state(|state, now, _| {
                    let count = state.throttle.end_wait(now, *peer, ticket)?;
                    state.waits.remove(*peer, receiver.id);
                    Some(count)
                });
                if let Some(count) = pending.ok_or(Error::Failed)? {
                    *open = None;
                    return Ok(Admission::Queued { count, ticket });
                }
                // The wait ended in this very moment, and the outcome is on its way.
                (&mut receiver.outcome).await
            }
        };
        *open = None;
        // Whoever ends a wait says how, unless they panicked.
        match outcome.map_err(|_| Error::Failed)? {
            Outcome::Cancelled(cause) => Err(refusal(cause)),
            Outcome::Granted(count, token) => Ok(Admission::Granted { count, token }),
            Outcome::Pending(count) => Ok(Admission::Queued { count, ticket }),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(Open { ticket, receiver }) = &self.open {
            // Not if the service has failed. It may be that which unwinds this task, or anything else.
            self.service.try_with_state(|state, now, _| {
                state.throttle.park(now, self.peer, *ticket);
                state.waits.remove(self.peer, receiver.id);
            });
        }
    }
}

/// What a waiter is told whose pending lock is gone.
fn refusal(cause: CancelCause) -> Error {
    match cause {
        CancelCause::NeverAcquirable { count, max } => {
            throttle_core::Error::NeverAcquirable { count, max }.into()
        }
        CancelCause::PeerGone => throttle_core::Error::UnknownPeer.into(),
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
    async fn requests_that_are_over_leave_nothing_behind() {
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

    /// S13: a step does not grow with the number of those who wait.
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

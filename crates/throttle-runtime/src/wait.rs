//! A request that stays open until its lock is granted.

use throttle_core::{CancelCause, Count, PeerId, Ticket};
use tokio::time;

use crate::{
    error::Error,
    handle::Admission,
    open_waits::{Outcome, WaitReceiver},
    service::Service,
};

/// An open request. Dropped before it was answered, it parks its waiter: the client went away.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    service: &'a Service,
    peer: PeerId,
    ticket: Ticket,
    listening: WaitReceiver,
    open: bool,
}

impl<'a> Wait<'a> {
    /// The request of `peer`, which the state machine has queued under `ticket` as listening.
    ///
    /// Not to be made within an operation: dropped there, it would wait for the end of the operation.
    pub(crate) fn new(
        service: &'a Service,
        peer: PeerId,
        ticket: Ticket,
        listening: WaitReceiver,
    ) -> Self {
        Self { service, peer, ticket, listening, open: true }
    }

    /// Answers when the lock is granted or cancelled, when its time is over, or when the server drains,
    /// whichever is first.
    pub(crate) async fn answer(mut self) -> Result<Admission, Error> {
        let block_for = self.listening.block_for;
        let heard = match time::timeout(block_for, &mut self.listening.outcome).await {
            Ok(heard) => heard,
            Err(_) => match self.end()? {
                Some(count) => return Ok(Admission::Pending { count }),
                // The wait ended in this very moment, and the outcome is on its way.
                None => (&mut self.listening.outcome).await,
            },
        };
        self.open = false;
        // Whoever ends a wait says how, unless they panicked.
        match heard.map_err(|_| Error::Failed)? {
            Outcome::Cancelled(cause) => Err(refusal(cause)),
            Outcome::Granted(count, token) => Ok(Admission::Held { count, token }),
            Outcome::Pending(count) => Ok(Admission::Pending { count }),
        }
    }

    /// Ends the wait in good order, and tells what is still pending. `None` if it has ended otherwise
    /// already.
    fn end(&mut self) -> Result<Option<Count>, Error> {
        let ended = self.service.try_with_state(|state, now, _| {
            let pending = state.throttle.end_wait(now, self.peer, self.ticket)?;
            self.open = false;
            state.waits.remove(self.peer, self.listening.id);
            Some(pending)
        });
        ended.ok_or(Error::Failed)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.open {
            // Not if the service has failed. It may be that which unwinds this task, or anything else.
            self.service.try_with_state(|state, now, _| {
                state.throttle.park(now, self.peer, self.ticket);
                state.waits.remove(self.peer, self.listening.id);
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

    use throttle_core::{Labels, Level, Settings};

    use super::*;
    use crate::{
        Ask, Handle, SemaphoreConfig,
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
        handle.acquire(holder, "A", Ask::now(Count::ONE)).await.unwrap();

        let second = Duration::from_secs(1);
        let ask = Ask { block_for: Some(second), ..Ask::now(Count::ONE) };
        assert_eq!(
            handle.acquire(waiter, "A", ask).await,
            Ok(Admission::Pending { count: Count::ONE })
        );
        assert_eq!(handle.open_waits().open, 0, "answered");

        let hung_up = time::timeout(second / 2, handle.acquire(waiter, "A", ask)).await;
        assert!(hung_up.is_err());
        assert_eq!(handle.open_waits().open, 0, "dropped");
    }

    /// S13: a step does not grow with the number of those who wait.
    #[tokio::test(start_paused = true)]
    async fn draining_ends_a_bounded_number_of_waits_in_a_step() {
        let semaphore = SemaphoreConfig { max: Count::ONE, level: Level(0) };
        let semaphores = BTreeMap::from([("A".to_owned(), semaphore)]);
        let handle = Handle::start(Settings::default(), &semaphores);
        let ask = Ask { block_for: Some(Duration::from_secs(30)), ..Ask::now(Count::ONE) };
        let waiting = 2 * DRAINED_IN_A_STEP + 1;
        for _ in 0..=waiting {
            let peer = handle.new_peer(Duration::from_secs(60), Labels::default()).await.unwrap();
            let clone = handle.clone();
            tokio::spawn(async move { clone.acquire(peer, "A", ask).await });
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

//! A request that stays open until its lock is granted.

use std::time::Duration;

use throttle_core::{CancelCause, Count, PeerId, Ticket};
use tokio::{sync::oneshot, time};

use crate::{Admission, Error, handle::Handle, state::Outcome};

/// An open request. Dropped before it was answered, it parks its waiter: the client went away.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    handle: &'a Handle,
    peer: PeerId,
    ticket: Ticket,
    outcome: oneshot::Receiver<Outcome>,
    open: bool,
}

impl<'a> Wait<'a> {
    /// The request of `peer`, which the state machine has queued under `ticket` as listening.
    pub(crate) fn new(
        handle: &'a Handle,
        peer: PeerId,
        ticket: Ticket,
        outcome: oneshot::Receiver<Outcome>,
    ) -> Self {
        Self { handle, peer, ticket, outcome, open: true }
    }

    /// Answers when the lock is granted or cancelled, when `block_for` is over, or when the server
    /// drains, whichever is first.
    pub(crate) async fn answer(mut self, block_for: Duration) -> Result<Admission, Error> {
        let heard = match time::timeout(block_for, &mut self.outcome).await {
            Ok(heard) => heard,
            Err(_) => match self.end() {
                Some(count) => return Ok(Admission::Pending { count }),
                // The wait ended in this very moment, and the outcome is on its way.
                None => (&mut self.outcome).await,
            },
        };
        self.open = false;
        match heard.expect("whoever ends a wait says how") {
            Outcome::Cancelled(cause) => Err(refusal(cause)),
            Outcome::Granted(count, token) => Ok(Admission::Held { count, token }),
            Outcome::Pending(count) => Ok(Admission::Pending { count }),
        }
    }

    /// Ends the wait in good order, and tells what is still pending. `None` if it has ended otherwise
    /// already.
    fn end(&mut self) -> Option<Count> {
        self.handle.operate(|state, now| {
            let pending = state.throttle.end_wait(now, self.peer, self.ticket)?;
            self.open = false;
            self.outcome.close();
            state.listeners.forget_closed(self.peer);
            Some(pending)
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // Who panics has found the state poisoned, and must not panic again on the way out.
        if self.open && !std::thread::panicking() {
            self.handle.operate(|state, now| {
                state.throttle.park(now, self.peer, self.ticket);
                self.outcome.close();
                state.listeners.forget_closed(self.peer);
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
    use std::collections::BTreeMap;

    use throttle_core::{Labels, Level, Settings};

    use super::*;
    use crate::{Ask, SemaphoreConfig};

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
        assert!(handle.operate(|state, _| state.listeners.is_empty()), "answered");

        let hung_up = time::timeout(second / 2, handle.acquire(waiter, "A", ask)).await;
        assert!(hung_up.is_err());
        assert!(handle.operate(|state, _| state.listeners.is_empty()), "dropped");
    }
}

//! What an operation leaves to do after the mutex is free again.

use throttle_core::Event;

use crate::{
    names::Names,
    observer::Observer,
    open_waits::{Outcome, WaitSender, Waits},
    peer_log::PeerLog,
};

/// What is left to do when the mutex is free again.
#[must_use]
pub(crate) struct Effects {
    answers: Vec<(WaitSender, Outcome)>,
    pub(crate) peer_log: PeerLog,
    /// Whether something is due before the timer wakes up.
    pub(crate) must_rearm: bool,
}

impl Effects {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Self {
        Self { answers: Vec::new(), peer_log: PeerLog::new(), must_rearm: false }
    }

    /// Wakes those who waited, and writes to the log.
    pub(crate) fn deliver(self) {
        for (wait, outcome) in self.answers {
            // Who went away in this very moment holds the lock until its lease ends.
            let _ = wait.sender.send(outcome);
        }
        self.peer_log.log();
    }

    pub(crate) fn record(
        &mut self,
        event: Event,
        waits: &mut Waits,
        observer: &mut dyn Observer,
        names: &Names,
    ) {
        observer.event(&event);
        match event {
            Event::Granted { peer, count, token, .. } => {
                self.answer(waits.take(peer), Outcome::Granted(count, token));
            }
            Event::Cancelled { peer, cause, .. } => {
                self.answer(waits.take(peer), Outcome::Cancelled(cause));
            }
            _ => {}
        }
        self.peer_log.record(event, names);
    }

    pub(crate) fn answer(&mut self, waits: Vec<WaitSender>, outcome: Outcome) {
        self.answers.extend(waits.into_iter().map(|wait| (wait, outcome)));
    }
}

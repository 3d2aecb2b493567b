//! The effects of an operation on others: they are recorded under the mutex and delivered after it is
//! unlocked.

use throttle_core::Event;

use crate::{
    journal::Journal,
    names::Names,
    observer::Observer,
    open_waits::{Outcome, WaitSender, Waits},
    peer_log::PeerLog,
};

/// What remains to be done for others after the mutex is unlocked.
#[must_use]
pub(crate) struct Effects {
    pub(crate) outcomes: Vec<(WaitSender, Outcome)>,
    pub(crate) peer_log: PeerLog,
    /// Whether a deadline comes before the instant at which the timer wakes.
    pub(crate) must_rearm: bool,
    /// Whether the writer of the store has something to do and does not know it.
    pub(crate) must_wake_writer: bool,
}

impl Effects {
    /// No effects yet.
    pub(crate) fn new() -> Self {
        Self {
            outcomes: Vec::new(),
            peer_log: PeerLog::new(),
            must_rearm: false,
            must_wake_writer: false,
        }
    }

    /// Wakes the waits that ended, and writes to the log.
    pub(crate) fn deliver(self) {
        for (wait, outcome) in self.outcomes {
            // A client that hung up just now holds a granted lock until its lease ends.
            let _ = wait.sender.send(outcome);
        }
        self.peer_log.log();
    }

    /// Passes an event to all its consumers: the observer, the journal, the waits and the log.
    pub(crate) fn record(
        &mut self,
        event: Event,
        waits: &mut Waits,
        observer: &mut dyn Observer,
        journal: Option<&mut Journal>,
        names: &Names,
    ) {
        observer.event(&event);
        if let Some(journal) = journal {
            journal.record(&event, names);
        }
        match event {
            Event::Granted { peer, count, token, .. } => {
                self.end_waits(waits.take(peer), Outcome::Granted(count, token));
            }
            Event::Cancelled { peer, cause, .. } => {
                self.end_waits(waits.take(peer), Outcome::Cancelled(cause));
            }
            Event::SemaphoreRemoved { semaphore } => observer.semaphore_removed(semaphore),
            _ => {}
        }
        self.peer_log.record(event, names);
    }

    /// The waits get this outcome on delivery.
    pub(crate) fn end_waits(&mut self, waits: Vec<WaitSender>, outcome: Outcome) {
        self.outcomes.extend(waits.into_iter().map(|wait| (wait, outcome)));
    }
}

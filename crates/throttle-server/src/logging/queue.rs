//! The queue of log messages, from the threads that log to the thread that sends or writes.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How many bytes may wait.
const CAPACITY: usize = 4 * 1024 * 1024;

/// A queue that accepts a message at once, or drops and counts it.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Notified when a message is added or the phase changes.
    changed: Condvar,
    /// How many messages were lost so far, in the queue and after it.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<String>,
    bytes: usize,
    /// How many messages were dropped since that was last reported.
    lost: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    #[default]
    Open,
    /// No more messages are accepted. Those that wait are sent.
    Closing,
    /// No more messages are sent.
    Finished,
}

/// An item for the thread that sends or writes.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Item {
    /// A message.
    Message(String),
    /// The number of messages that were dropped since the last item of this kind.
    Lost(u64),
}

impl Queue {
    /// Adds a message, if there is room for it.
    pub(super) fn push(&self, message: String) {
        let mut state = self.state();
        if state.phase != Phase::Open || state.bytes + message.len() > CAPACITY {
            state.lost += 1;
            self.count_lost();
            return;
        }
        state.bytes += message.len();
        state.messages.push_back(message);
        drop(state);
        self.changed.notify_all();
    }

    /// Counts a message that was lost, for [`lost`](Self::lost).
    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for the next item. `None` if there will be none.
    pub(super) fn next(&self) -> Option<Item> {
        let is_idle = |state: &mut State| {
            state.messages.is_empty() && state.lost == 0 && state.phase == Phase::Open
        };
        let mut state = self.changed.wait_while(self.state(), is_idle).expect(NO_PANIC);
        if let Some(message) = state.messages.pop_front() {
            state.bytes -= message.len();
            return Some(Item::Message(message));
        }
        let lost = std::mem::take(&mut state.lost);
        (lost > 0).then_some(Item::Lost(lost))
    }

    /// Whether more messages may come. If not, the process is ending, and there is no time to retry.
    pub(super) fn is_open(&self) -> bool {
        self.state().phase == Phase::Open
    }

    /// Waits for this time, or until the queue is closed.
    pub(super) fn pause(&self, time: Duration) {
        let is_open = |state: &mut State| state.phase == Phase::Open;
        let _ = self.changed.wait_timeout_while(self.state(), time, is_open).expect(NO_PANIC);
    }

    /// Accepts no more messages, and waits until those in the queue were sent.
    pub(super) fn close(&self, at_most: Duration) {
        self.enter(Phase::Closing);
        let is_busy = |state: &mut State| state.phase != Phase::Finished;
        let _ = self.changed.wait_timeout_while(self.state(), at_most, is_busy).expect(NO_PANIC);
    }

    /// Notes that no more messages will be sent.
    pub(super) fn finish(&self) {
        self.enter(Phase::Finished);
    }

    fn enter(&self, phase: Phase) {
        self.state().phase = phase;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "no panic while the queue is locked";

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn a_message_that_does_not_fit_is_dropped_and_counted() {
        let queue = Queue::default();
        queue.push("x".repeat(CAPACITY));
        queue.push("y".to_owned());
        queue.push("z".to_owned());
        assert_eq!(queue.next(), Some(Item::Message("x".repeat(CAPACITY))));
        assert_eq!(queue.next(), Some(Item::Lost(2)));
        assert_eq!(queue.lost(), 2);
        queue.push("y".to_owned());
        assert_eq!(queue.next(), Some(Item::Message("y".to_owned())));
    }

    #[test]
    fn closing_waits_for_the_last_message_to_be_sent() {
        let (queue, sent) = (Queue::default(), AtomicU32::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while queue.next().is_some() {
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                queue.finish();
            });
            (0..10_000).for_each(|_| queue.push("x".to_owned()));
            queue.close(Duration::MAX);
            assert_eq!(sent.load(Ordering::Relaxed), 10_000);
        });
    }

    #[test]
    fn messages_that_wait_when_the_queue_is_closed_are_still_sent() {
        let queue = Queue::default();
        queue.push("x".to_owned());
        queue.close(Duration::ZERO);
        assert_eq!(queue.next(), Some(Item::Message("x".to_owned())));
        assert_eq!(queue.next(), None);
        assert!(!queue.is_open());
        queue.pause(Duration::MAX);
    }
}

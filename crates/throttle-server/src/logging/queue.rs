//! Messages on their way from whoever logs to the thread that sends or writes them.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How much may wait, in bytes.
const CAPACITY: usize = 4 * 1024 * 1024;

/// A queue that takes a message at once or drops it. What it drops, it counts.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Something was added, or the phase is another one.
    changed: Condvar,
    /// How many messages were lost, here and behind the queue.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<String>,
    bytes: usize,
    lost: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    #[default]
    Open,
    /// Nothing more comes. What is there is sent.
    Closing,
    /// Nothing more is sent.
    Finished,
}

/// What comes out of the queue.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Item {
    /// Came in at the other end.
    Message(String),
    /// So many messages were dropped since the queue said so last.
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

    /// Counts a message that was lost, for those who ask for the number of all of them.
    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for the next message. `None` if there will be none.
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

    /// Whether more may come, so that there is time to try again.
    pub(super) fn is_open(&self) -> bool {
        self.state().phase == Phase::Open
    }

    /// Waits for a while, or until the queue is closed.
    pub(super) fn pause(&self, time: Duration) {
        let is_open = |state: &mut State| state.phase == Phase::Open;
        let _ = self.changed.wait_timeout_while(self.state(), time, is_open).expect(NO_PANIC);
    }

    /// Says that nothing more will come, and waits for the last message to be gone.
    pub(super) fn close(&self, at_most: Duration) {
        self.enter(Phase::Closing);
        let is_busy = |state: &mut State| state.phase != Phase::Finished;
        let _ = self.changed.wait_timeout_while(self.state(), at_most, is_busy).expect(NO_PANIC);
    }

    /// Says that nothing more will be sent.
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

const NO_PANIC: &str = "nothing in here panics";

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
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
    fn what_waits_when_the_queue_is_closed_still_comes_out() {
        let queue = Queue::default();
        queue.push("x".to_owned());
        queue.close(Duration::ZERO);
        assert_eq!(queue.next(), Some(Item::Message("x".to_owned())));
        assert_eq!(queue.next(), None);
        assert!(!queue.is_open());
        queue.pause(Duration::MAX);
    }
}

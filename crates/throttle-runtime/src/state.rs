//! What the mutex protects: the state machine, the names of its semaphores, and who listens.
//!
//! The events of the machine go to everybody who consumes them, before an operation what happened by
//! itself since the last one ([`State::catch_up`]), and after it what it did ([`State::gather`]). What
//! takes longer, such as waking tasks, is left to [`News::spread`], after the mutex is free again.

use std::sync::Arc;

use throttle_core::{CancelCause, Count, Event, FencingToken, Settings, Throttle, Time};

use crate::{
    attention::Attention,
    clock,
    departures::{Departures, Expired},
    entropy::Entropy,
    listeners::{Listener, Listeners, OpenWait},
    names::Names,
    observer::Observer,
};

/// What an open request hears.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Its lock is gone.
    Cancelled(CancelCause),
    /// So much is held.
    Granted(Count, FencingToken),
    /// So much is still pending, but nobody waits any more.
    Pending(Count),
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) throttle: Throttle,
    pub(crate) attention: Attention,
    /// Replaced as a whole, so that others can go on reading the one before.
    pub(crate) names: Arc<Names>,
    pub(crate) entropy: Entropy,
    pub(crate) observer: Box<dyn Observer>,
    pub(crate) listeners: Listeners,
    pub(crate) expired: Expired,
    /// Whether requests no longer stay open.
    pub(crate) draining: bool,
    /// Until when the timer sleeps.
    pub(crate) alarm: Option<Time>,
}

impl State {
    pub(crate) fn new(settings: Settings, observer: Box<dyn Observer>) -> Self {
        let mut entropy = Entropy::from_system();
        Self {
            throttle: Throttle::new(settings)
                .minting_tokens_after(clock::token_at_boot())
                .with_hash_seed(entropy.seed()),
            attention: Attention::default(),
            names: Arc::default(),
            entropy,
            observer,
            listeners: Listeners::new(),
            expired: Expired::default(),
            draining: false,
            alarm: None,
        }
    }

    /// Lets time pass until `now`, or until as much as `budget` was done, and adds what happens by
    /// itself to the news. Returns the instant that was reached.
    pub(crate) fn catch_up(&mut self, now: Time, budget: u32, news: &mut News) -> Time {
        let Self { throttle, listeners, observer, names, .. } = self;
        let reached = throttle.catch_up_with(now, budget, |event| {
            news.hear(event, listeners, &mut **observer, names);
        });
        self.expired.take_from(&mut news.departures);
        reached
    }

    /// Adds all that has happened since the last time to the news.
    pub(crate) fn gather(&mut self, news: &mut News) {
        while let Some(event) = self.throttle.poll_event() {
            news.hear(event, &mut self.listeners, &mut *self.observer, &self.names);
        }
        self.expired.take_from(&mut news.departures);
        let timeout = self.throttle.poll_timeout();
        if timeout.is_some_and(|timeout| self.alarm.is_none_or(|alarm| timeout < alarm)) {
            self.alarm = timeout;
            news.alarm_is_late = true;
        }
    }

    /// Ends many waits in good order, and those to come before they begin. Returns whether there are
    /// more that are open.
    pub(crate) fn drain(&mut self, now: Time, news: &mut News) -> bool {
        self.draining = true;
        for _ in 0..DRAINED_IN_A_STEP {
            let Some(wait) = self.listeners.first() else {
                return false;
            };
            self.end_wait(now, wait, news);
        }
        true
    }

    /// Ends the oldest short wait in good order. Returns whether there was one to be ended.
    pub(crate) fn end_short_wait(&mut self, now: Time, news: &mut News) -> bool {
        let Some(wait) = self.listeners.oldest_short(self.attention.present()) else {
            return false;
        };
        self.end_wait(now, wait, news);
        true
    }

    /// Answers an open request that its lock is still pending.
    fn end_wait(&mut self, now: Time, wait: OpenWait, news: &mut News) {
        let OpenWait { peer, ticket, id } = wait;
        let Some(pending) = self.throttle.end_wait(now, peer, ticket) else {
            // A lease of no time that began a moment ago has ended first, and this wait with it or
            // because of it. An event says how.
            self.gather(news);
            assert!(!self.listeners.contains(peer, id), "no wait ends without an event");
            return;
        };
        let listener = self.listeners.remove(peer, id).expect("it was just found");
        news.answer(vec![listener], Outcome::Pending(pending));
    }
}

/// How many waits are ended in one critical section.
pub(crate) const DRAINED_IN_A_STEP: usize = 1_000;

/// What is left to do when the mutex is free again.
#[must_use]
pub(crate) struct News {
    answers: Vec<(Listener, Outcome)>,
    departures: Departures,
    /// Whether something is due before the timer wakes up.
    pub(crate) alarm_is_late: bool,
}

impl News {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Self {
        Self { answers: Vec::new(), departures: Departures::new(), alarm_is_late: false }
    }

    /// Wakes those who waited, and writes to the log.
    pub(crate) fn spread(self) {
        for (listener, outcome) in self.answers {
            // Who went away in this very moment holds the lock until its lease ends.
            let _ = listener.reply.send(outcome);
        }
        self.departures.log();
    }

    fn hear(
        &mut self,
        event: Event,
        listeners: &mut Listeners,
        observer: &mut dyn Observer,
        names: &Names,
    ) {
        observer.event(&event);
        match event {
            Event::Granted { peer, count, token, .. } => {
                self.answer(listeners.take(peer), Outcome::Granted(count, token));
            }
            Event::Cancelled { peer, cause, .. } => {
                self.answer(listeners.take(peer), Outcome::Cancelled(cause));
            }
            _ => {}
        }
        self.departures.record(event, names);
    }

    fn answer(&mut self, listeners: Vec<Listener>, outcome: Outcome) {
        self.answers.extend(listeners.into_iter().map(|listener| (listener, outcome)));
    }
}

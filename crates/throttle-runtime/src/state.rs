//! What the mutex protects: the state machine, the names of its semaphores, and who listens.
//!
//! [`State::news`] ends every critical section: it hands the events of the machine to everybody who
//! consumes them. What takes longer, such as waking tasks, is left to [`News::spread`], after the
//! mutex is free again.

use std::collections::HashMap;

use throttle_core::{CancelCause, Event, FencingToken, PeerId, Settings, Throttle, Time};
use tokio::sync::oneshot;

use crate::{clock, entropy::Entropy, names::Names, observer::Observer};

/// What an open request hears when its lock is no longer pending.
pub(crate) type Outcome = Result<FencingToken, CancelCause>;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) throttle: Throttle,
    pub(crate) names: Names,
    pub(crate) entropy: Entropy,
    pub(crate) observer: Box<dyn Observer>,
    pub(crate) listeners: Listeners,
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
            names: Names::default(),
            entropy,
            observer,
            listeners: Listeners::default(),
            draining: false,
            alarm: None,
        }
    }

    /// Takes all that has happened since the last time.
    pub(crate) fn news(&mut self) -> News {
        let mut news = News::default();
        while let Some(event) = self.throttle.poll_event() {
            match event {
                Event::Granted { peer, token, .. } => {
                    self.listeners.inform(peer, Ok(token), &mut news.answers);
                }
                Event::Cancelled { peer, cause, .. } => {
                    self.listeners.inform(peer, Err(cause), &mut news.answers);
                }
                Event::Expired { .. } => news.expired += 1,
                _ => {}
            }
            self.observer.event(&event);
        }
        let timeout = self.throttle.poll_timeout();
        news.alarm_is_late =
            timeout.is_some_and(|timeout| self.alarm.is_none_or(|at| timeout < at));
        if news.alarm_is_late {
            self.alarm = timeout;
        }
        news
    }
}

/// The open requests, by the peer that waits.
///
/// Most peers have one. A client that repeats a request whose connection it believes to be broken
/// has two for a while; all of them hear the same.
#[derive(Debug, Default)]
pub(crate) struct Listeners(HashMap<PeerId, Vec<oneshot::Sender<Outcome>>>);

impl Listeners {
    pub(crate) fn add(&mut self, peer: PeerId) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        self.0.entry(peer).or_default().push(sender);
        receiver
    }

    /// Forgets those of the peer's requests that closed their ear.
    pub(crate) fn forget_closed(&mut self, peer: PeerId) {
        if let Some(listeners) = self.0.get_mut(&peer) {
            listeners.retain(|listener| !listener.is_closed());
            if listeners.is_empty() {
                self.0.remove(&peer);
            }
        }
    }

    /// Forgets all of them. What they then hear is that nobody will tell them anything.
    pub(crate) fn take_all(&mut self) -> Self {
        std::mem::take(self)
    }

    fn inform(&mut self, peer: PeerId, outcome: Outcome, answers: &mut Vec<Answer>) {
        if self.0.is_empty() {
            return;
        }
        if let Some(listeners) = self.0.remove(&peer) {
            answers.extend(listeners.into_iter().map(|listener| Answer { listener, outcome }));
        }
    }
}

/// An outcome on its way to an open request.
#[derive(Debug)]
struct Answer {
    listener: oneshot::Sender<Outcome>,
    outcome: Outcome,
}

/// What is left to do when the mutex is free again.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct News {
    answers: Vec<Answer>,
    expired: usize,
    /// Whether something is due before the timer wakes up.
    pub(crate) alarm_is_late: bool,
}

impl News {
    /// Wakes those who waited.
    pub(crate) fn spread(self) {
        for Answer { listener, outcome } in self.answers {
            // Who went away in this very moment holds the lock until the lease ends.
            let _ = listener.send(outcome);
        }
        if self.expired > 0 {
            tracing::warn!(peers = self.expired, "peers expired, their locks are free");
        }
    }
}

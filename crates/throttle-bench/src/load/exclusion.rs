//! Checks that a mutex has one holder at a time, and that waiters are served in order.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::ensure;

/// Checks exclusion and order while connections contend for a mutex.
///
/// A second grant is detected only if its answer is read while the first holder still holds the lock. So a
/// holder rests: between the answer that grants it the lock and its release, all answers that have arrived
/// are read. The first holder rests for longer, until all others have asked.
#[derive(Debug, Default)]
pub(crate) struct ExclusionCheck {
    first_rest: Duration,
    holder: Option<Holder>,
    /// The waiting connections in the order of their requests, each with the number of grants before it.
    waiting: VecDeque<(usize, u64)>,
    grants: u64,
}

#[derive(Debug)]
struct Holder {
    connection: usize,
    rests_until: Instant,
    /// Whether all answers were read once since the grant.
    answers_read: bool,
}

impl ExclusionCheck {
    /// A mutex without holder and waiters. Its first holder will rest for `first_rest`.
    pub(crate) fn new(first_rest: Duration) -> Self {
        Self { first_rest, ..Self::default() }
    }

    /// Records that a connection asks for the lock.
    pub(crate) fn note_request(&mut self, connection: usize) {
        self.waiting.push_back((connection, self.grants));
    }

    /// Records that a connection received the lock.
    ///
    /// `slack`: the number of grants by which a waiter may be overtaken. Requests on different connections
    /// may arrive in another order than they were sent, but a request must not overtake one that was sent
    /// long before it.
    ///
    /// # Errors
    ///
    /// If the lock is held, if the connection did not ask for it, or if it overtook a waiter.
    pub(crate) fn grant(
        &mut self,
        connection: usize,
        slack: u64,
        now: Instant,
    ) -> anyhow::Result<()> {
        if let Some(Holder { connection: holder, .. }) = self.holder {
            anyhow::bail!("{connection} was granted the lock while {holder} held it");
        }
        let place = self.waiting.iter().position(|&(waiter, _)| waiter == connection);
        let asked = place.and_then(|place| self.waiting.remove(place));
        let Some((_, asked)) = asked else { anyhow::bail!("{connection} did not ask") };
        // The front of the queue asked first, so it was overtaken by most.
        if let Some(&(first, earlier)) = self.waiting.front()
            && place > Some(0)
        {
            ensure!(asked - earlier < slack, "{connection} overtook {first}");
        }
        let rests_until = now + if self.grants == 0 { self.first_rest } else { Duration::ZERO };
        self.grants += 1;
        self.holder = Some(Holder { connection, rests_until, answers_read: false });
        Ok(())
    }

    /// Records that all available answers were read. Returns the holder if it has rested.
    pub(crate) fn rested_holder(&mut self, now: Instant) -> Option<usize> {
        let holder = self.holder.as_mut()?;
        let has_rested = std::mem::replace(&mut holder.answers_read, true);
        (has_rested && now >= holder.rests_until).then_some(holder.connection)
    }

    /// Whether the lock is held.
    pub(crate) fn is_held(&self) -> bool {
        self.holder.is_some()
    }

    /// Records that the holder releases the lock. Returns whether a connection waits for it.
    pub(crate) fn release(&mut self) -> bool {
        self.holder = None;
        !self.waiting.is_empty()
    }

    /// The number of grants.
    pub(crate) fn grants(&self) -> u64 {
        self.grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const FIRST_REST: Duration = Duration::from_millis(20);

    fn asked_by(connections: &[usize]) -> ExclusionCheck {
        let mut check = ExclusionCheck::new(FIRST_REST);
        connections.iter().for_each(|&connection| check.note_request(connection));
        check
    }

    #[test]
    fn a_second_holder_is_detected() {
        let mut check = asked_by(&[1, 2]);
        check.grant(1, 1, clock::now()).unwrap();
        let error = check.grant(2, 1, clock::now()).unwrap_err();
        assert!(error.to_string().contains("while 1 held it"));
    }

    #[test]
    fn a_holder_rests_until_all_answers_were_read_once_more() {
        let now = clock::now();
        let mut check = asked_by(&[1, 2]);
        check.grant(1, 1, now).unwrap();
        assert_eq!(check.rested_holder(now), None);
        assert_eq!(check.rested_holder(now), None, "the first one rests for longer");
        assert_eq!(check.rested_holder(now + FIRST_REST), Some(1));
        assert!(check.release());
        check.grant(2, 1, now).unwrap();
        assert_eq!(check.rested_holder(now), None);
        assert_eq!(check.rested_holder(now), Some(2));
        assert!(!check.release());
        assert_eq!(check.rested_holder(now), None);
    }

    #[test]
    fn a_request_sent_long_before_must_not_be_overtaken() {
        let mut check = asked_by(&[1, 2]);
        for _ in 0..2 {
            check.grant(2, 2, clock::now()).unwrap();
            assert!(check.release());
            check.note_request(2);
        }
        let error = check.grant(2, 2, clock::now()).unwrap_err();
        assert!(error.to_string().contains("2 overtook 1"));
    }

    #[test]
    fn without_slack_no_request_may_be_overtaken() {
        let mut check = asked_by(&[1, 2]);
        assert!(check.grant(2, 0, clock::now()).is_err());
        asked_by(&[1, 2]).grant(1, 0, clock::now()).unwrap();
    }

    #[test]
    fn a_grant_without_a_request_is_detected() {
        assert!(asked_by(&[]).grant(1, 1, clock::now()).is_err());
    }
}

//! Whose turn it is on a mutex, and whether anybody takes a turn out of turn.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::ensure;

/// Watches over exclusion and order while connections take turns.
///
/// A check of exclusion shows nothing unless the holder lets others have their say while it holds. So
/// a holder rests: between the answer that grants it the lock and its release, all answers that have
/// arrived meanwhile are read. The first one of all may rest for longer, while all others ask.
#[derive(Debug, Default)]
pub(crate) struct ExclusionCheck {
    first_rest: Duration,
    holder: Option<Holder>,
    /// Who waits, in the order in which they asked, each with the number of grants before.
    waiting: VecDeque<(usize, u64)>,
    grants: u64,
}

#[derive(Debug)]
struct Holder {
    connection: usize,
    rests_until: Instant,
    /// Whether others had their say since.
    answers_read: bool,
}

impl ExclusionCheck {
    /// Nobody holds the lock and nobody waits. Its first holder will rest for so long.
    pub(crate) fn new(first_rest: Duration) -> Self {
        Self { first_rest, ..Self::default() }
    }

    /// A connection asks.
    pub(crate) fn note_request(&mut self, connection: usize) {
        self.waiting.push_back((connection, self.grants));
    }

    /// A connection was told that it has the lock.
    ///
    /// `slack`: how many grants may pass before who asked earlier must be served earlier. Two requests
    /// on different connections may overtake each other on their way; a request that was sent long
    /// before another one must not be overtaken by it.
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
        // Whoever stands further ahead asked earlier still.
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

    /// All answers that had arrived were read. Returns the holder if it has rested.
    pub(crate) fn rested_holder(&mut self, now: Instant) -> Option<usize> {
        let holder = self.holder.as_mut()?;
        let has_rested = std::mem::replace(&mut holder.answers_read, true);
        (has_rested && now >= holder.rests_until).then_some(holder.connection)
    }

    /// Whether somebody holds the lock.
    pub(crate) fn is_held(&self) -> bool {
        self.holder.is_some()
    }

    /// The holder gives back the lock. Returns whether somebody waits for it.
    pub(crate) fn release(&mut self) -> bool {
        self.holder = None;
        !self.waiting.is_empty()
    }

    /// How often the lock was granted.
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
    fn a_second_holder_is_found_out() {
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
    fn who_asked_long_before_must_not_be_overtaken() {
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
    fn who_stands_in_line_for_sure_must_not_be_overtaken_at_all() {
        let mut check = asked_by(&[1, 2]);
        assert!(check.grant(2, 0, clock::now()).is_err());
        asked_by(&[1, 2]).grant(1, 0, clock::now()).unwrap();
    }

    #[test]
    fn who_did_not_ask_is_found_out() {
        assert!(asked_by(&[]).grant(1, 1, clock::now()).is_err());
    }
}

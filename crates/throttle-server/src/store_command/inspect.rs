//! `throttle store inspect`: a summary of a store for people.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use throttle_runtime::{HeldRecord, Meta, PendingRecord, Record, UnixTime};
use throttle_store::Records as _;

/// Prints the summary of the store in this file, with ages up to `now`.
pub(super) fn print(path: &Path, now: UnixTime) -> anyhow::Result<()> {
    let bytes =
        fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    let store = throttle_store::open_read_only(path)?;
    let mut summary = Summary { now, ..Summary::default() };
    let meta = store.records(&mut |record| {
        summary.add(&record);
        Ok(())
    })?;
    super::say(&format!("{}, {bytes} bytes\n{}", path.display(), summary.text(meta)))
}

/// What is in a store, by semaphore.
#[derive(Debug, Default)]
struct Summary {
    now: UnixTime,
    peers: u64,
    absent: u64,
    semaphores: BTreeMap<String, Use>,
}

/// How a semaphore is used.
#[derive(Debug, Default)]
struct Use {
    /// `None` if there is no record of it.
    max: Option<u64>,
    level: i32,
    last_token: u64,
    held: u64,
    holders: u64,
    waiters: u64,
    longest_held: Duration,
    longest_pending: Duration,
}

impl Summary {
    fn add(&mut self, record: &Record) {
        match record {
            Record::Semaphore(semaphore) => {
                let entry = self.semaphore(&semaphore.name);
                entry.max = Some(semaphore.max.get());
                entry.level = semaphore.level.0;
                entry.last_token = semaphore.last_token.get();
            }
            Record::Peer(peer) => {
                self.peers += 1;
                for HeldRecord { semaphore, count, since, .. } in &peer.held {
                    let age = self.now.since(*since);
                    let entry = self.semaphore(semaphore);
                    entry.held = entry.held.saturating_add(count.get());
                    entry.holders += 1;
                    entry.longest_held = entry.longest_held.max(age);
                }
                if let Some(PendingRecord { semaphore, since, .. }) = &peer.pending {
                    let age = self.now.since(*since);
                    let entry = self.semaphore(semaphore);
                    entry.waiters += 1;
                    entry.longest_pending = entry.longest_pending.max(age);
                }
            }
            Record::Absent(_) => self.absent += 1,
        }
    }

    fn semaphore(&mut self, name: &str) -> &mut Use {
        if !self.semaphores.contains_key(name) {
            self.semaphores.insert(name.to_owned(), Use::default());
        }
        self.semaphores.get_mut(name).expect("it was inserted")
    }

    fn text(&self, meta: Option<Meta>) -> String {
        let mut text = String::new();
        self.write(meta, &mut text).expect("a string takes everything");
        text
    }

    fn write(&self, meta: Option<Meta>, text: &mut String) -> fmt::Result {
        let Some(Meta { id, made_at, .. }) = meta else {
            return writeln!(text, "new and empty: no server has used it");
        };
        let made = SystemTime::UNIX_EPOCH + Duration::from_millis(made_at.0);
        let made = humantime::format_rfc3339_seconds(made);
        writeln!(text, "id {id}, made {made}, {} ago", age(self.now.since(made_at)))?;
        writeln!(text, "peers: {}", self.peers)?;
        writeln!(text, "removed peers whose numbers are kept: {}", self.absent)?;
        writeln!(text, "semaphores: {}", self.semaphores.len())?;
        for (name, semaphore) in &self.semaphores {
            write!(text, "  {name:?}: {semaphore}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max, level, last_token, held, holders, waiters, .. } = self;
        match max {
            Some(max) => write!(f, "{held} of {max} held, level {level}")?,
            None => write!(f, "{held} held, without a record of its own")?,
        }
        writeln!(f, ", last token {last_token}")?;
        if *holders > 0 {
            writeln!(f, "    holders: {holders}, longest for {}", age(self.longest_held))?;
        }
        if *waiters > 0 {
            writeln!(f, "    waiters: {waiters}, longest for {}", age(self.longest_pending))?;
        }
        Ok(())
    }
}

/// An age in whole seconds.
fn age(age: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(age.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::expect;
    use throttle_runtime::{
        AbsentRecord, Count, FencingToken, Labels, Level, PeerId, PeerRecord, SemaphoreRecord,
        Sequence, Ticket,
    };

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000_000);

    fn ago(seconds: u64) -> UnixTime {
        UnixTime(NOW.0 - seconds * 1_000)
    }

    fn peer(id: u64, held: &[(&str, u64)], pending: Option<&str>) -> Record {
        let held = held.iter().map(|&(name, seconds)| HeldRecord {
            semaphore: Arc::from(name),
            count: Count::ONE,
            token: FencingToken::MAX,
            since: ago(seconds),
        });
        Record::Peer(PeerRecord {
            id: PeerId::new(id).unwrap(),
            expires_in: Duration::from_secs(60),
            labels: Labels::default(),
            sequence: Sequence::default(),
            held: held.collect(),
            pending: pending.map(|name| PendingRecord {
                semaphore: name.into(),
                count: Count::ONE,
                ticket: Ticket::new(1),
                since: ago(7),
            }),
        })
    }

    #[test]
    fn a_summary_counts_peers_and_locks_and_shows_the_longest_ages() {
        let mut summary = Summary { now: NOW, ..Summary::default() };
        let semaphore = SemaphoreRecord {
            name: "A".into(),
            last_token: FencingToken::MAX,
            max: Count::try_from(3).unwrap(),
            level: Level(-1),
        };
        let absent = AbsentRecord {
            peer: PeerId::new(9).unwrap(),
            sequence: Sequence::default(),
            since: NOW,
        };
        for record in [
            Record::Semaphore(semaphore),
            peer(1, &[("A", 3_725), ("B", 1)], None),
            peer(2, &[("A", 5)], Some("A")),
            Record::Absent(absent),
        ] {
            summary.add(&record);
        }
        let meta = Meta { id: 0xBEE, made_at: ago(86_400), token_floor: FencingToken::MAX };
        expect![[r#"
            id 3054, made 2027-01-14T08:00:00Z, 1day ago
            peers: 2
            removed peers whose numbers are kept: 1
            semaphores: 2
              "A": 2 of 3 held, level -1, last token 9007199254740991
                holders: 2, longest for 1h 2m 5s
                waiters: 1, longest for 7s
              "B": 1 held, without a record of its own, last token 0
                holders: 1, longest for 1s
        "#]]
        .assert_eq(&summary.text(Some(meta)));
        assert_eq!(summary.text(None), "new and empty: no server has used it\n");
    }
}

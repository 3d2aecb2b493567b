//! Our performance targets, and whether they hold.

use serde::Serialize;

use crate::figures::{
    Figures, Measure,
    Subject::{self, Disk, Etcd, Floor, Old, Ours, OursEmpty, OursStored, StoreEngine},
};

/// A bound for a number of our server.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    /// `None` if this run did not measure it.
    pub(crate) found: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    /// Whether it holds. `None` if this run did not measure it.
    pub(crate) fn holds(&self) -> Option<bool> {
        let found = self.found?;
        Some(match self.bound {
            Bound::AtLeast(bound) => found >= bound,
            Bound::AtMost(bound) => found <= bound,
        })
    }
}

/// All our targets.
pub(crate) fn all(figures: &Figures) -> Vec<Target> {
    let mut targets = throughput(figures);
    targets.extend(hand_over(figures));
    targets.extend(size(figures));
    targets.extend(pauses(figures));
    targets.extend(store(figures));
    targets
}

fn throughput(figures: &Figures) -> Vec<Target> {
    let rate = |case, one, other| figures.ratio(case, one, other, Measure::RequestsPerSecond);
    let cpu = |case, one, other| figures.ratio(case, one, other, Measure::CpuMicros);
    let mut targets = Vec::new();
    let mut want = |what: String, bound, found| targets.push(Target { what, bound, found });
    for scenario in SCENARIOS {
        let case = (scenario, "nobody");
        // Either as many requests a second, or as little processor time for each: the better of the two ratios.
        let thrift = cpu(case, Floor, Ours);
        let better = rate(case, Ours, Floor).into_iter().chain(thrift).reduce(f64::max);
        want(format!("{scenario}: rate or thrift / floor"), Bound::AtLeast(0.95), better);
        want(format!("{scenario}: rate / old"), Bound::AtLeast(1.15), rate(case, Ours, Old));
    }
    for among in ["1M idle", "100k waiting"] {
        let also = if among.ends_with("waiting") { "queue" } else { "roam" };
        for scenario in SCENARIOS.into_iter().chain([also]) {
            let found = rate((scenario, among), Ours, OursEmpty);
            want(format!("{scenario} among {among}: rate / empty"), Bound::AtLeast(0.9), found);
        }
    }
    for scenario in SCENARIOS {
        let found = rate((scenario, "100k idle"), Ours, Old);
        want(format!("{scenario} among 100k idle: rate / old"), Bound::AtLeast(100.0), found);
    }
    targets
}

fn hand_over(figures: &Figures) -> Vec<Target> {
    let target = |what: &str, bound, case, other, measure| Target {
        what: what.to_owned(),
        bound,
        found: figures.ratio(case, Ours, other, measure),
    };
    let (few, many) = (("contend", "16 contenders"), ("serve", "10k open requests"));
    let (p50, grants) = (Measure::P50Micros, Measure::GrantsPerSecond);
    vec![
        target("hand-over among 16: p50 / floor", Bound::AtMost(1.1), few, Floor, p50),
        target("hand-over among 16: p50 / old", Bound::AtMost(1.0), few, Old, p50),
        target("10k open requests: rate / floor", Bound::AtLeast(0.9), many, Floor, grants),
    ]
}

fn size(figures: &Figures) -> Vec<Target> {
    let bytes = |case, subject| figures.median(case, subject, Measure::Bytes);
    let beyond = |one: Option<f64>, other: Option<f64>| Some(one? - other?);
    let target = |what: &str, most, found| Target {
        what: what.to_owned(),
        bound: Bound::AtMost(most),
        found,
    };
    let connection = bytes(("idle connection", "10k"), Floor);
    let blocked = bytes(("blocked request", "10k"), Ours);
    vec![
        target("bytes of an idle peer", 300.0, bytes(("idle peer", "1M"), Ours)),
        target("bytes of a peer with a held lock", 500.0, bytes(("held lock", "1M"), Ours)),
        target("bytes of a blocked request", 12.0 * 1_024.0, beyond(blocked, connection)),
    ]
}

/// The longest pause in any round, for each event.
fn pauses(figures: &Figures) -> Vec<Target> {
    let target = |&(what, among): &(&str, &str)| Target {
        what: format!("{what}, {among}: longest pause of others, ms"),
        bound: Bound::AtMost(20.0),
        found: figures.worst((what, among), Ours, Measure::LongestPauseMillis),
    };
    PAUSES.iter().map(target).collect()
}

/// What a store may cost.
fn store(figures: &Figures) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut want = |what: &str, bound, found| {
        targets.push(Target { what: what.to_owned(), bound, found });
    };
    let rate = |case, other| figures.ratio(case, OursStored, other, Measure::RequestsPerSecond);
    for among in ["1 connection", "64 connections", "1k connections"] {
        let what = format!("stored heartbeat, {among}: rate / memory only");
        want(&what, Bound::AtLeast(0.95), rate(("heartbeat", among), Ours));
    }
    let many = ("lock", "64 connections");
    // Half of what memory allows, or all that the disk allows: whichever is less, so the better of the two ratios.
    let half = rate(many, Ours).map(|ratio| ratio * 2.0);
    let found = half.into_iter().chain(rate(many, Disk)).reduce(f64::max);
    let what = "stored lock, 64 connections: rate / half of memory only, or / disk";
    want(what, Bound::AtLeast(1.0), found);
    let what = "stored lock, 64 connections: rate / etcd";
    want(what, Bound::AtLeast(5.0), rate(many, Etcd));
    let one = ("lock", "1 connection");
    let p50 = figures.ratio(one, OursStored, StoreEngine, Measure::P50Micros);
    want("stored lock, 1 connection: p50 / one commit", Bound::AtMost(1.5), p50);
    let median = |what, measure| figures.median((what, "1M peers"), OursStored, measure);
    let recovery = median("recovery", Measure::Millis);
    want("recovery of 1M peers until ready, ms", Bound::AtMost(5_000.0), recovery);
    let bytes = median("file, each peer", Measure::Bytes);
    want("bytes of a peer in the file", Bound::AtMost(400.0), bytes);
    let size = |what| figures.median((what, "100k peers"), OursStored, Measure::Bytes);
    let growth = size("file after the churn").zip(size("file, a third of the churn"));
    let growth = growth.map(|(end, third)| end / third);
    want("size of the file after churn / after a third of it", Bound::AtMost(1.05), growth);
    targets
}

const SCENARIOS: [&str; 3] = ["cycle", "lock", "heartbeat"];

/// The events that others may notice, with their sizes.
const PAUSES: [(&str, &str); 13] = [
    ("expiry of holders", "100k peers"),
    ("expiry of waiters", "100k peers"),
    ("expiry and a chain of 1k", "100k peers"),
    ("list of peers", "100k peers"),
    ("list of a semaphore", "100k waiters"),
    ("maximum raised", "100k waiters"),
    ("maximum lowered", "100k holders"),
    ("semaphores added", "10k semaphores"),
    ("semaphores resized", "10k semaphores"),
    ("semaphores removed", "10k semaphores"),
    ("list of peers", "100 peers with 7k locks"),
    ("a scrape", "10k semaphores"),
    ("3 scrapes by each of two", "10k semaphores"),
];

/// The servers that ours is compared with.
pub(super) const BASELINES: [Subject; 3] = [Floor, Old, OursEmpty];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_holds_up_to_its_bound_and_is_unknown_if_it_was_not_measured() {
        let target = |bound, found| Target { what: String::new(), bound, found };
        assert_eq!(target(Bound::AtLeast(0.9), Some(0.9)).holds(), Some(true));
        assert_eq!(target(Bound::AtLeast(0.9), Some(0.89)).holds(), Some(false));
        assert_eq!(target(Bound::AtMost(1.1), Some(1.1)).holds(), Some(true));
        assert_eq!(target(Bound::AtMost(1.1), Some(1.11)).holds(), Some(false));
        assert_eq!(target(Bound::AtMost(1.1), None).holds(), None);
    }

    #[test]
    fn without_measurements_it_is_unknown_whether_any_target_holds() {
        let targets = all(&Figures::default());
        assert!(targets.len() > 20 && targets.iter().all(|target| target.holds().is_none()));
    }
}

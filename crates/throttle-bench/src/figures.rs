//! All measured numbers, round by round, with what each of them measures.

use serde::Serialize;

use crate::server::ServerKind;

/// The server that a number is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// Our server. Without a store, unless another one is mentioned.
    Ours,
    /// Our server with a store.
    OursStored,
    /// Our server without a population, measured in the same rounds as the one with it.
    OursEmpty,
    Old,
    Floor,
    /// One node of etcd.
    Etcd,
    /// PostgreSQL with a table of leases.
    Postgres,
    /// The disk, with batches of the size that our server wrote.
    Disk,
    /// The engine of our store, with one commit for each request.
    StoreEngine,
}

impl Subject {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursStored => "ours, stored",
            Self::OursEmpty => "ours, empty",
            Self::Old => "old",
            Self::Floor => "floor",
            Self::Etcd => "etcd",
            Self::Postgres => "PostgreSQL",
            Self::Disk => "disk",
            Self::StoreEngine => "engine",
        }
    }
}

impl From<ServerKind> for Subject {
    fn from(kind: ServerKind) -> Self {
        match kind {
            ServerKind::Ours => Self::Ours,
            ServerKind::Old => Self::Old,
            ServerKind::Floor => Self::Floor,
        }
    }
}

/// The unit and kind of a number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    RequestsPerSecond,
    GrantsPerSecond,
    /// Processor time of the server, in microseconds a request.
    CpuMicros,
    /// Processor time of the load generator, in percent. Near 100, the load generator limits the rate.
    LoadPercent,
    P50Micros,
    P99Micros,
    P999Micros,
    /// The longest wait of a probe for an answer while something large happened.
    LongestPauseMillis,
    /// The wait that all but a thousandth of the probe's requests did not exceed.
    P999PauseMillis,
    /// How many records the server made durable with one sync.
    RecordsPerBatch,
    /// How many requests were answered before.
    Requests,
    Bytes,
    Millis,
}

impl Measure {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests/s",
            Self::GrantsPerSecond => "grants/s",
            Self::CpuMicros => "CPU µs/request",
            Self::LoadPercent => "load busy %",
            Self::P50Micros => "p50 µs",
            Self::P99Micros => "p99 µs",
            Self::P999Micros => "p99.9 µs",
            Self::LongestPauseMillis => "longest pause ms",
            Self::P999PauseMillis => "p99.9 pause ms",
            Self::RecordsPerBatch => "records/batch",
            Self::Requests => "requests",
            Self::Bytes => "bytes",
            Self::Millis => "ms",
        }
    }
}

/// One measured quantity, with its number in each round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// The scenario or event.
    pub(crate) question: String,
    /// The population, or the size of the event.
    pub(crate) among: String,
    pub(crate) subject: Subject,
    pub(crate) measure: Measure,
    pub(crate) median: f64,
    pub(crate) rounds: Vec<f64>,
}

/// All figures of a run, in the order of their first round.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    /// Adds the number of a round.
    pub(crate) fn note(
        &mut self,
        (question, among): (&str, &str),
        subject: Subject,
        measure: Measure,
        value: f64,
    ) {
        let known = self.0.iter_mut().find(|figure| {
            (&*figure.question, &*figure.among) == (question, among)
                && (figure.subject, figure.measure) == (subject, measure)
        });
        if let Some(figure) = known {
            figure.rounds.push(value);
            figure.median = median(&figure.rounds);
        } else {
            let (question, among) = (question.to_owned(), among.to_owned());
            let (median, rounds) = (value, vec![value]);
            self.0.push(Figure { question, among, subject, measure, median, rounds });
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Figure> {
        self.0.iter()
    }

    pub(crate) fn find(
        &self,
        (question, among): (&str, &str),
        subject: Subject,
        measure: Measure,
    ) -> Option<&Figure> {
        self.0.iter().find(|figure| {
            (&*figure.question, &*figure.among) == (question, among)
                && (figure.subject, figure.measure) == (subject, measure)
        })
    }

    pub(crate) fn median(
        &self,
        case: (&str, &str),
        subject: Subject,
        measure: Measure,
    ) -> Option<f64> {
        Some(self.find(case, subject, measure)?.median)
    }

    /// The largest number of all rounds.
    pub(crate) fn worst(
        &self,
        case: (&str, &str),
        subject: Subject,
        measure: Measure,
    ) -> Option<f64> {
        let rounds = self.find(case, subject, measure)?.rounds.iter();
        rounds.copied().reduce(f64::max)
    }

    /// The number of `one` divided by that of `other`: the median of the ratios within each round, so that
    /// differences between rounds cancel out.
    pub(crate) fn ratio(
        &self,
        case: (&str, &str),
        one: Subject,
        other: Subject,
        measure: Measure,
    ) -> Option<f64> {
        let one = &self.find(case, one, measure)?.rounds;
        let other = &self.find(case, other, measure)?.rounds;
        let ratios: Vec<f64> = one.iter().zip(other).map(|(one, other)| one / other).collect();
        Some(median(&ratios))
    }
}

/// The median. Of an even number of values, the mean of the two in the middle.
fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[half - 1] + sorted[half]) / 2.0
    } else {
        sorted[half]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_compares_numbers_of_the_same_round() {
        let case = ("lock", "nobody");
        let mut figures = Figures::default();
        // In the second round the machine is slower for both, in the third it is disturbed once.
        for (ours, floor) in [(90.0, 100.0), (45.0, 50.0), (1.0, 100.0)] {
            figures.note(case, Subject::Ours, Measure::RequestsPerSecond, ours);
            figures.note(case, Subject::Floor, Measure::RequestsPerSecond, floor);
        }
        let (one, other) = (Subject::Ours, Subject::Floor);
        let ratio = figures.ratio(case, one, other, Measure::RequestsPerSecond);
        assert_eq!(ratio, Some(0.9));
        assert_eq!(figures.median(case, one, Measure::RequestsPerSecond), Some(45.0));
        assert_eq!(figures.ratio(case, one, other, Measure::CpuMicros), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
    }
}

//! The metrics that each semaphore has.
//!
//! The samples of a family are written straight into the whole text: histograms of ten thousand
//! semaphores take some 30 MB of it.

use std::{
    fmt::{Arguments, Write as _},
    sync::Arc,
};

use throttle_runtime::SemaphoreStatus;

use super::{
    histogram::Histogram,
    semaphore_series::{CAUSES, Series},
};

/// A metric that each semaphore has.
pub(super) struct Family {
    pub(super) name: &'static str,
    help: &'static str,
    samples: Samples,
}

/// The source of the samples of a family.
enum Samples {
    Cancelled,
    Counter(fn(&Series) -> u64),
    Gauge(fn(&SemaphoreStatus) -> f64),
    Histogram(fn(&Series) -> Option<&Histogram>),
}

/// Sorted by name. Families that version 0.5 had keep their help.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "throttle_acquired",
        help: "Sum of all acquired locks.",
        samples: Samples::Gauge(|semaphore| semaphore.held as f64),
    },
    Family {
        name: "throttle_cancelled_total",
        help: "Pending locks that were given up, by cause.",
        samples: Samples::Cancelled,
    },
    Family {
        name: "throttle_grants_total",
        help: "Locks that were granted, at once or after waiting.",
        samples: Samples::Counter(|series| series.grants.get()),
    },
    Family {
        name: "throttle_hold_seconds",
        help: "Time that locks were held.",
        samples: Samples::Histogram(|series| series.hold.as_ref()),
    },
    Family {
        name: "throttle_holders",
        help: "Peers that hold a lock.",
        samples: Samples::Gauge(|semaphore| semaphore.holders as f64),
    },
    Family {
        name: "throttle_longest_held_seconds",
        help: "Time that the lock that was granted first has been held; zero if none is.",
        samples: Samples::Gauge(|semaphore| semaphore.longest_held.as_secs_f64()),
    },
    Family {
        name: "throttle_longest_pending_sec",
        help: "Time the longest pending peer is waiting until now, to acquire a lock to a semaphore.",
        samples: Samples::Gauge(|semaphore| semaphore.longest_pending.as_secs_f64()),
    },
    Family {
        name: "throttle_max",
        help: "Maximum allowed lock count for this semaphore.",
        samples: Samples::Gauge(|semaphore| semaphore.max.get() as f64),
    },
    Family {
        name: "throttle_pending",
        help: "Sum of all pending locks",
        samples: Samples::Gauge(|semaphore| semaphore.pending as f64),
    },
    Family {
        name: "throttle_wait_seconds",
        help: "Time that locks were pending before they became held; zero if at once.",
        samples: Samples::Histogram(|series| series.wait.as_ref()),
    },
    Family {
        name: "throttle_waiters",
        help: "Peers that wait for a lock.",
        samples: Samples::Gauge(|semaphore| semaphore.waiters as f64),
    },
];

/// A semaphore, with what its samples are made of.
pub(super) struct Row {
    /// The labels that all of its samples have, without the closing brace.
    labels: String,
    status: SemaphoreStatus,
    /// `None` before the first event.
    series: Option<Arc<Series>>,
}

impl Row {
    pub(super) fn new(status: SemaphoreStatus, series: Option<Arc<Series>>) -> Self {
        let mut labels = String::with_capacity(status.name.len() + 16);
        labels.push_str("{semaphore=\"");
        for character in status.name.chars() {
            match character {
                '\\' => labels.push_str(r"\\"),
                '"' => labels.push_str("\\\""),
                '\n' => labels.push_str(r"\n"),
                _ => labels.push(character),
            }
        }
        labels.push('"');
        Self { labels, status, series }
    }

    /// The labels. The samples of a family are sorted by them.
    pub(super) fn labels(&self) -> &str {
        &self.labels
    }
}

impl Family {
    /// Writes the family, unless it has no samples. `bounds` are the buckets of the histograms.
    pub(super) fn write(&self, text: &mut String, rows: &[Row], bounds: &[String]) {
        let (name, help) = (self.name, self.help);
        let kind = match self.samples {
            _ if rows.is_empty() => return,
            Samples::Histogram(_) if bounds.is_empty() => return,
            Samples::Cancelled | Samples::Counter(_) => "counter",
            Samples::Gauge(_) => "gauge",
            Samples::Histogram(_) => "histogram",
        };
        push(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for Row { labels, status, series } in rows {
            let series = series.as_deref();
            match self.samples {
                Samples::Cancelled => {
                    for (index, cause) in CAUSES.iter().enumerate() {
                        let count = series.map_or(0, |series| series.cancelled[index].get());
                        push(text, format_args!("{name}{labels},cause=\"{cause}\"}} {count}\n"));
                    }
                }
                Samples::Counter(value) => {
                    push(text, format_args!("{name}{labels}}} {}\n", series.map_or(0, value)));
                }
                Samples::Gauge(value) => {
                    push(text, format_args!("{name}{labels}}} {}\n", value(status)));
                }
                Samples::Histogram(histogram) => {
                    write_histogram(text, name, labels, bounds, series.and_then(histogram));
                }
            }
        }
    }
}

/// Writes a series of a histogram: cumulative buckets, the sum and the count.
pub(super) fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &str,
    bounds: &[String],
    histogram: Option<&Histogram>,
) {
    let mut counts = histogram.into_iter().flat_map(Histogram::counts);
    let mut total = 0;
    for bound in bounds.iter().map(String::as_str).chain(["+Inf"]) {
        total += counts.next().unwrap_or(0);
        push(text, format_args!("{name}_bucket{labels},le=\"{bound}\"}} {total}\n"));
    }
    let sum = histogram.map_or(0.0, Histogram::sum);
    push(text, format_args!("{name}_sum{labels}}} {sum}\n{name}_count{labels}}} {total}\n"));
}

fn push(text: &mut String, line: Arguments<'_>) {
    text.write_fmt(line).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_sorted_by_name() {
        assert!(FAMILIES.is_sorted_by(|one, other| one.name < other.name));
    }
}

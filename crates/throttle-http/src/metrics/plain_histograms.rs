//! Histograms without labels, which an embedder fills.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use super::histogram::Histogram;

/// The histograms of an embedder, with their names and helps.
#[derive(Default)]
pub(super) struct PlainHistograms(Mutex<Vec<(&'static str, &'static str, Arc<Histogram>)>>);

impl PlainHistograms {
    pub(super) fn add(&self, name: &'static str, help: &'static str, histogram: Arc<Histogram>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name, help, histogram));
    }

    /// Writes all histograms, as an exporter does.
    pub(super) fn write(&self, text: &mut String) {
        for (name, help, histogram) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            write(text, (name, help), histogram).expect("a string takes everything");
        }
    }
}

fn write(text: &mut String, (name, help): (&str, &str), histogram: &Histogram) -> std::fmt::Result {
    write!(text, "# HELP {name} {help}\n# TYPE {name} histogram\n")?;
    let mut total = 0;
    let mut bounds = histogram.bounds().iter();
    for count in histogram.counts() {
        total += count;
        match bounds.next() {
            Some(bound) => writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {total}")?,
            None => writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {total}")?,
        }
    }
    write!(text, "{name}_sum {}\n{name}_count {total}\n", histogram.sum())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_histogram_is_written_with_cumulative_buckets() {
        let (histograms, batches) = (PlainHistograms::default(), Histogram::new(&[0.5, 8.0]));
        histograms.add("batches", "Records of a batch.", Arc::new(batches));
        for value in [0.5, 1.0, 8.0, 9.0] {
            histograms.0.lock().unwrap()[0].2.observe(value);
        }
        let mut text = String::new();
        histograms.write(&mut text);
        expect![[r#"
            # HELP batches Records of a batch.
            # TYPE batches histogram
            batches_bucket{le="0.5"} 1
            batches_bucket{le="8"} 3
            batches_bucket{le="+Inf"} 4
            batches_sum 18.5
            batches_count 4
        "#]]
        .assert_eq(&text);
    }
}

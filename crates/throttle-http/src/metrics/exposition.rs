//! The text that Prometheus reads, in a fixed order.
//!
//! An exporter writes families and series in the order of a hash map. Here they are sorted and merged
//! with the families of the semaphores, so that two scrapes of the same state have the same text.

use std::collections::BTreeMap;

use super::semaphore_families::{FAMILIES, Row};

/// The whole text: the families that an exporter wrote, and those of the semaphores. `bounds` are the
/// buckets of their histograms; `capacity` is the expected length of the text.
pub(super) fn write(exported: &str, mut rows: Vec<Row>, bounds: &[f64], capacity: usize) -> String {
    // Rows come sorted by name; escapes can make the order of the labels differ.
    rows.sort_by(|one, other| one.labels().cmp(other.labels()));
    let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
    let mut exported = parse(exported);
    let mut text = String::with_capacity(capacity);
    for family in FAMILIES {
        let later = exported.split_off(family.name);
        exported.into_values().for_each(|family| family.write(&mut text));
        exported = later;
        // A family of the same name in the recorder is not ours.
        exported.remove(family.name);
        family.write(&mut text, &rows, &bounds);
    }
    exported.into_values().for_each(|family| family.write(&mut text));
    text
}

/// The lines of one metric, as an exporter wrote them.
#[derive(Default)]
struct Exported<'a> {
    comments: Vec<&'a str>,
    samples: Vec<&'a str>,
}

/// The metrics that an exporter wrote, by name.
fn parse(exported: &str) -> BTreeMap<&str, Exported<'_>> {
    let mut families = BTreeMap::<_, Exported<'_>>::new();
    let mut name = "";
    for line in exported.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            name = comment.split(' ').nth(1).unwrap_or_default();
            families.entry(name).or_default().comments.push(line);
        } else {
            families.entry(name).or_default().samples.push(line);
        }
    }
    families
}

impl Exported<'_> {
    /// Writes the metric, sorted by its labels, unless it has no samples.
    fn write(mut self, text: &mut String) {
        if self.samples.is_empty() {
            return;
        }
        // A stable sort keeps the buckets of a histogram in order.
        self.samples.sort_by_cached_key(|sample| series(sample));
        for line in self.comments.iter().chain(&self.samples) {
            text.push_str(line);
            text.push('\n');
        }
    }
}

/// The labels of a sample without the bound of a bucket: samples of one histogram have the same.
fn series(sample: &str) -> &str {
    let labels = labels(sample);
    match labels.rfind("le=\"") {
        Some(0) => "",
        Some(bucket) if labels[..bucket].ends_with(',') => &labels[..bucket - 1],
        _ => labels,
    }
}

/// The text between the braces of a sample.
fn labels(sample: &str) -> &str {
    // A label may contain a closing brace, but the number after the last one does not.
    let range = sample.find('{').zip(sample.rfind('}'));
    range.map_or("", |(start, end)| &sample[start + 1..end])
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn families_and_series_are_sorted_and_buckets_keep_their_order() {
        let text = r#"
# HELP z Last.
# TYPE z histogram
z_bucket{semaphore="b",le="0.5"} 0
z_bucket{semaphore="b",le="+Inf"} 1
z_sum{semaphore="b"} 7
z_count{semaphore="b"} 1
z_bucket{semaphore="a",le="0.5"} 0
z_bucket{semaphore="a",le="+Inf"} 0
z_sum{semaphore="a"} 0
z_count{semaphore="a"} 0

# TYPE empty gauge

# TYPE a counter
a 1
"#;
        expect![[r#"
            # TYPE a counter
            a 1
            # HELP z Last.
            # TYPE z histogram
            z_bucket{semaphore="a",le="0.5"} 0
            z_bucket{semaphore="a",le="+Inf"} 0
            z_sum{semaphore="a"} 0
            z_count{semaphore="a"} 0
            z_bucket{semaphore="b",le="0.5"} 0
            z_bucket{semaphore="b",le="+Inf"} 1
            z_sum{semaphore="b"} 7
            z_count{semaphore="b"} 1
        "#]]
        .assert_eq(&write(text, Vec::new(), &[], 0));
    }
}

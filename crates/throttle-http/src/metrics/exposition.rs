//! The text that Prometheus reads, put in order.
//!
//! An exporter writes families and series in the order of a hash map. Here they are sorted, with the
//! families of the semaphores in between, so that two readings of the same state are the same text.

use std::collections::BTreeMap;

use super::semaphore_families::{FAMILIES, Row};

/// The whole text: what an exporter wrote, and the families of the semaphores. `bounds` are those of
/// their histograms, and `size` is what the text may need.
pub(super) fn write(exported: &str, mut rows: Vec<Row>, bounds: &[f64], size: usize) -> String {
    // They come in the order of their names, which is nearly that of their labels.
    rows.sort_by(|one, other| one.labels().cmp(other.labels()));
    let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
    let mut exported = parse(exported);
    let mut text = String::with_capacity(size);
    for family in FAMILIES {
        let later = exported.split_off(family.name);
        exported.into_values().for_each(|family| family.write(&mut text));
        exported = later;
        // A recorder that has a family of the same name has it from somebody else.
        exported.remove(family.name);
        family.write(&mut text, &rows, &bounds);
    }
    exported.into_values().for_each(|family| family.write(&mut text));
    text
}

/// All lines about one metric, as an exporter wrote them.
#[derive(Default)]
struct Exported<'a> {
    comments: Vec<&'a str>,
    samples: Vec<&'a str>,
}

/// What an exporter wrote, by name.
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
    /// Writes the family, sorted by its labels, if it has samples.
    fn write(mut self, text: &mut String) {
        if self.samples.is_empty() {
            return;
        }
        // Stable, so that the buckets of a histogram stay in their order.
        self.samples.sort_by_cached_key(|sample| series(sample));
        for line in self.comments.iter().chain(&self.samples) {
            text.push_str(line);
            text.push('\n');
        }
    }
}

/// The labels that all samples of a histogram have in common.
fn series(sample: &str) -> &str {
    let labels = labels(sample);
    match labels.rfind("le=\"") {
        Some(0) => "",
        Some(bucket) if labels[..bucket].ends_with(',') => &labels[..bucket - 1],
        _ => labels,
    }
}

/// What stands between the braces of a sample.
fn labels(sample: &str) -> &str {
    // A brace in a label value is no end, but the value of the sample behind it has none.
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

//! The text that Prometheus reads, put in order.
//!
//! An exporter writes families and series in the order of a hash map, and keeps those of semaphores
//! that were removed. Here they are sorted and sifted, so that two readings of the same state are the
//! same text.

use std::collections::{BTreeMap, HashSet};

/// Sorts families by name and series by labels, and leaves out series of our own that are about a
/// semaphore other than `semaphores`.
pub(super) fn tidy<'a>(text: &str, semaphores: impl Iterator<Item = &'a str>) -> String {
    let semaphores: HashSet<String> = semaphores.map(escape).collect();
    let mut families = BTreeMap::<&str, Family<'_>>::new();
    let mut name = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            name = comment.split(' ').nth(1).unwrap_or_default();
            families.entry(name).or_default().comments.push(line);
        } else if is_wanted(line, &semaphores) {
            families.entry(name).or_default().samples.push(line);
        }
    }
    let mut tidy = String::with_capacity(text.len());
    for family in families.values_mut().filter(|family| !family.samples.is_empty()) {
        // Stable, so that the buckets of a histogram stay in their order.
        family.samples.sort_by_key(|sample| series(sample));
        for line in family.comments.iter().chain(&family.samples) {
            tidy.push_str(line);
            tidy.push('\n');
        }
    }
    tidy
}

/// All lines about one metric.
#[derive(Default)]
struct Family<'a> {
    comments: Vec<&'a str>,
    samples: Vec<&'a str>,
}

fn is_wanted(sample: &str, semaphores: &HashSet<String>) -> bool {
    let is_ours = sample.starts_with("throttle_");
    match semaphore(labels(sample)).filter(|_| is_ours) {
        Some(semaphore) => semaphores.contains(semaphore),
        None => true,
    }
}

/// What stands between the braces of a sample.
fn labels(sample: &str) -> &str {
    // A brace in a label value is no end, but the value of the sample behind it has none.
    let range = sample.find('{').zip(sample.rfind('}'));
    range.map_or("", |(start, end)| &sample[start + 1..end])
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

/// The escaped value of the label `semaphore`, which stands first in all series of ours.
fn semaphore(labels: &str) -> Option<&str> {
    let value = labels.strip_prefix("semaphore=\"")?;
    let mut is_escaped = false;
    let end = value.find(|character| {
        let ends = character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        ends
    });
    end.map(|end| &value[..end])
}

/// A label value as the text format has it.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
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
        .assert_eq(&tidy(text, [].into_iter()));
    }

    #[test]
    fn series_of_removed_semaphores_vanish_and_a_family_without_series_with_them() {
        let names = ["plain", "quo\"ted", "back\\slash", "new\nline", "end\\", "a\",b=\"}"];
        for kept in names {
            let samples =
                names.map(|name| format!("throttle_max{{semaphore=\"{}\"}} 1\n", escape(name)));
            let text = format!("# TYPE throttle_max gauge\n{}", samples.concat());
            let tidied = tidy(&text, [kept].into_iter());
            let kept = format!("throttle_max{{semaphore=\"{}\"}} 1", escape(kept));
            assert_eq!(tidied.lines().collect::<Vec<_>>(), ["# TYPE throttle_max gauge", &kept]);
            assert_eq!(tidy(&text, [].into_iter()), "");
        }
    }

    #[test]
    fn series_of_others_are_left_alone() {
        let text = "# TYPE other gauge\nother{semaphore=\"gone\"} 1\n";
        assert_eq!(tidy(text, [].into_iter()), text);
    }
}

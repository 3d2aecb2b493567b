//! Figures and targets as tables in Markdown, aligned so that they are readable as plain text.

use std::fmt::Write as _;

use super::targets::{BASELINES, Bound, Target};
use crate::figures::{Figures, Measure, Subject};

/// A table for each measure. Each case is a row, with medians and the ratios of our server to the others.
pub(super) fn figures(figures: &Figures) -> String {
    let mut measures: Vec<Measure> = figures.iter().map(|figure| figure.measure).collect();
    measures.sort_unstable();
    measures.dedup();
    let tables = measures.into_iter().map(|measure| of_measure(figures, measure));
    tables.collect()
}

fn of_measure(figures: &Figures, measure: Measure) -> String {
    let mut header = vec![measure.name().to_owned(), "among".to_owned()];
    header.extend(SUBJECTS.map(|subject| subject.name().to_owned()));
    header.extend(BASELINES.map(|baseline| match baseline {
        Subject::OursEmpty => "ours/empty".to_owned(),
        baseline => format!("ours/{}", baseline.name()),
    }));
    let mut rows = vec![header];
    let mut cases: Vec<(&str, &str)> = Vec::new();
    for figure in figures.iter().filter(|figure| figure.measure == measure) {
        let case = (&*figure.question, &*figure.among);
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    for case in cases {
        let median = |subject| figures.median(case, subject, measure);
        let ratio = |baseline| figures.ratio(case, Subject::Ours, baseline, measure);
        let mut row = vec![case.0.to_owned(), case.1.to_owned()];
        row.extend(SUBJECTS.map(|subject| median(subject).map_or_else(String::new, number)));
        row.extend(BASELINES.map(|baseline| ratio(baseline).map_or_else(String::new, number)));
        rows.push(row);
    }
    markdown(&rows)
}

/// Each target with its bound and the number found.
pub(super) fn targets(targets: &[Target]) -> String {
    let header = ["target", "bound", "found", "holds"].map(str::to_owned).to_vec();
    let rows = targets.iter().map(|target| {
        let bound = match target.bound {
            Bound::AtLeast(bound) => format!("at least {}", number(bound)),
            Bound::AtMost(bound) => format!("at most {}", number(bound)),
        };
        let holds = match target.holds() {
            None => "not measured",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        let found = target.found.map_or_else(String::new, number);
        vec![target.what.clone(), bound, found, holds.to_owned()]
    });
    markdown(&std::iter::once(header).chain(rows).collect::<Vec<_>>())
}

/// A number with three significant digits, or all digits before the point.
fn number(number: f64) -> String {
    let decimals = match number.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let digits = format!("{number:.decimals$}");
    if decimals > 0 {
        return digits;
    }
    // Group thousands, from the right.
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digit.is_ascii_digit() && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a table. The first row is the header; the first two columns are words, the others numbers.
fn markdown(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).filter_map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let written = match column {
                0 | 1 => write!(text, "| {cell:<width$} "),
                _ => write!(text, "| {cell:>width$} "),
            };
            written.expect("memory takes every byte");
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                text.push_str(&format!("|{dashes}{}", if column < 2 { "-" } else { ":" }));
            }
            text.push_str("|\n");
        }
    }
    text.push('\n');
    text
}

const SUBJECTS: [Subject; 4] = [Subject::Floor, Subject::Ours, Subject::OursEmpty, Subject::Old];

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_case_is_a_row_and_missing_measurements_are_empty_cells() {
        let mut measured = Figures::default();
        for (subject, rate) in [(Subject::Ours, 99_000.0), (Subject::Floor, 100_000.0)] {
            measured.note(("lock", "nobody"), subject, Measure::RequestsPerSecond, rate);
        }
        measured.note(("lock", "1M idle"), Subject::Ours, Measure::RequestsPerSecond, 1_234_567.0);
        expect![[r#"
            | requests/s | among   |   floor |      ours | ours, empty | old | ours/floor | ours/old | ours/empty |
            |------------|---------|--------:|----------:|------------:|----:|-----------:|---------:|-----------:|
            | lock       | nobody  | 100,000 |    99,000 |             |     |       0.99 |          |            |
            | lock       | 1M idle |         | 1,234,567 |             |     |            |          |            |

        "#]]
        .assert_eq(&figures(&measured));
    }

    #[test]
    fn a_target_that_is_missed_stands_out() {
        let target = |what: &str, found| {
            let bound = Bound::AtLeast(0.95);
            Target { what: what.to_owned(), bound, found }
        };
        let all = [target("a", Some(0.5)), target("b", Some(1.0)), target("c", None)];
        expect![[r#"
            | target | bound         | found |        holds |
            |--------|---------------|------:|-------------:|
            | a      | at least 0.95 |  0.50 |           NO |
            | b      | at least 0.95 |  1.00 |          yes |
            | c      | at least 0.95 |       | not measured |

        "#]]
        .assert_eq(&targets(&all));
    }
}

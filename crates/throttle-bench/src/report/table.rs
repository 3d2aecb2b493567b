//! Figures and targets as tables in Markdown, aligned so that they are readable as plain text.

use std::fmt::Write as _;

use super::targets::{BASELINES, Bound, Target};
use crate::figures::{Figure, Figures, Measure, Subject};

/// A table for each measure, and another one for what the study of the store measured. Each case is a row, with
/// medians and the ratios of our server to the others.
pub(super) fn figures(figures: &Figures) -> String {
    let mut measures: Vec<Measure> = figures.iter().map(|figure| figure.measure).collect();
    measures.sort_unstable();
    measures.dedup();
    let mut text = String::new();
    for columns in [&USUAL, &STORED] {
        for &measure in &measures {
            text.push_str(&of_measure(figures, measure, columns));
        }
    }
    text
}

/// The columns of a table.
struct Columns {
    subjects: &'static [Subject],
    /// The server whose ratios to others are shown.
    ours: Subject,
    baselines: &'static [Subject],
}

const USUAL: Columns = Columns {
    subjects: &[Subject::Floor, Subject::Ours, Subject::OursEmpty, Subject::Old],
    ours: Subject::Ours,
    baselines: &BASELINES,
};

const STORED: Columns = Columns {
    subjects: &[
        Subject::Ours,
        Subject::OursStored,
        Subject::Etcd,
        Subject::Postgres,
        Subject::Disk,
        Subject::StoreEngine,
    ],
    ours: Subject::OursStored,
    baselines: &[Subject::Ours, Subject::Etcd, Subject::Postgres, Subject::Disk],
};

/// Whether a case is one of the study of the store.
fn is_stored(figures: &Figures, case: (&str, &str)) -> bool {
    let of_case = |figure: &&Figure| (&*figure.question, &*figure.among) == case;
    figures.iter().filter(of_case).any(|figure| figure.subject == Subject::OursStored)
}

/// The table of a measure, or nothing if no case has it.
fn of_measure(figures: &Figures, measure: Measure, columns: &Columns) -> String {
    let &Columns { subjects, ours, baselines } = columns;
    let mut cases: Vec<(&str, &str)> = Vec::new();
    for figure in figures.iter().filter(|figure| figure.measure == measure) {
        let case = (&*figure.question, &*figure.among);
        if !cases.contains(&case) && is_stored(figures, case) == (ours == Subject::OursStored) {
            cases.push(case);
        }
    }
    if cases.is_empty() {
        return String::new();
    }
    let mut header = vec![measure.name().to_owned(), "among".to_owned()];
    header.extend(subjects.iter().map(|subject| subject.name().to_owned()));
    header.extend(baselines.iter().map(|baseline| match (ours, baseline) {
        (Subject::OursStored, baseline) => format!("stored/{}", baseline.name()),
        (_, Subject::OursEmpty) => "ours/empty".to_owned(),
        (_, baseline) => format!("ours/{}", baseline.name()),
    }));
    let mut rows = vec![header];
    for case in cases {
        let median = |subject: &Subject| figures.median(case, *subject, measure);
        let ratio = |baseline: &Subject| figures.ratio(case, ours, *baseline, measure);
        let mut row = vec![case.0.to_owned(), case.1.to_owned()];
        let cell = |value: Option<f64>| value.map_or_else(String::new, number);
        row.extend(subjects.iter().map(median).map(cell));
        row.extend(baselines.iter().map(ratio).map(cell));
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
    fn the_study_of_the_store_has_tables_of_its_own() {
        let mut measured = Figures::default();
        let (few, rate) = (("lock", "64 connections"), Measure::RequestsPerSecond);
        measured.note(("lock", "nobody"), Subject::Ours, rate, 99_000.0);
        measured.note(few, Subject::Ours, rate, 80_000.0);
        measured.note(few, Subject::OursStored, rate, 40_000.0);
        measured.note(few, Subject::Etcd, rate, 4_000.0);
        expect![[r#"
            | requests/s | among  | floor |   ours | ours, empty | old | ours/floor | ours/old | ours/empty |
            |------------|--------|------:|-------:|------------:|----:|-----------:|---------:|-----------:|
            | lock       | nobody |       | 99,000 |             |     |            |          |            |

            | requests/s | among          |   ours | ours, stored |  etcd | PostgreSQL | disk | engine | stored/ours | stored/etcd | stored/PostgreSQL | stored/disk |
            |------------|----------------|-------:|-------------:|------:|-----------:|-----:|-------:|------------:|------------:|------------------:|------------:|
            | lock       | 64 connections | 80,000 |       40,000 | 4,000 |            |      |        |        0.50 |        10.0 |                   |             |

        "#]].assert_eq(&figures(&measured));
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

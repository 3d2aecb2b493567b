//! The results of all trials, printed as a table.

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
};

use super::Scenario;
use crate::client_kind::ClientKind;

/// The results of all trials.
#[derive(Debug)]
pub struct Report {
    rows: Vec<Arc<Scenario>>,
    kinds: Vec<ClientKind>,
    /// Row by row, each in the order of the client kinds.
    cells: Vec<Cell>,
}

/// The result of one trial.
#[derive(Clone, Debug)]
enum Cell {
    NotRun,
    Passed,
    /// It failed at first, with this message.
    PassedOnRetry(String),
    Failed(String),
}

impl Report {
    /// A report without results yet.
    pub fn new(rows: Vec<Arc<Scenario>>, kinds: &[ClientKind]) -> Self {
        let cells = vec![Cell::NotRun; rows.len() * kinds.len()];
        Self { rows, kinds: kinds.to_vec(), cells }
    }

    /// The trials that have not passed, each with the index of its cell.
    pub fn not_passed(&self) -> Vec<(usize, Arc<Scenario>, ClientKind)> {
        let open = (0..).zip(self.trials()).filter(|(_, (_, _, cell))| !cell.has_passed());
        open.map(|(number, (row, kind, _))| (number, Arc::clone(row), kind)).collect()
    }

    /// Records the result of a trial, by the index of its cell.
    ///
    /// # Panics
    ///
    /// If there is no such cell.
    pub fn record(&mut self, cell: usize, result: anyhow::Result<()>) {
        let cell = &mut self.cells[cell];
        *cell = match (result, &*cell) {
            (Err(error), _) => Cell::Failed(format!("{error:#}")),
            (Ok(()), Cell::Failed(message)) => Cell::PassedOnRetry(message.clone()),
            (Ok(()), _) => Cell::Passed,
        };
    }

    /// A line for each trial that has not passed, with its scenario and client kind.
    pub fn failures(&self) -> Vec<String> {
        let wrong = self.trials().filter_map(|(row, kind, cell)| {
            let message = match cell {
                Cell::Passed | Cell::PassedOnRetry(_) => return None,
                Cell::Failed(message) => message,
                Cell::NotRun => "it was not run",
            };
            Some(format!("{row} [{kind}]: expected: {}; but: {message}", row.expected()))
        });
        wrong.collect()
    }

    /// A line for each trial that passed only when it was repeated.
    pub fn passed_on_retry(&self) -> Vec<String> {
        let passed_on_retry = self.trials().filter_map(|(row, kind, cell)| match cell {
            Cell::PassedOnRetry(message) => {
                Some(format!("{row} [{kind}]: wrong at first: {message}"))
            }
            _ => None,
        });
        passed_on_retry.collect()
    }

    fn trials(&self) -> impl Iterator<Item = (&Arc<Scenario>, ClientKind, &Cell)> {
        let trials =
            self.rows.iter().flat_map(|row| self.kinds.iter().map(move |kind| (row, *kind)));
        trials.zip(&self.cells).map(|((row, kind), cell)| (row, kind, cell))
    }
}

impl Cell {
    fn has_passed(&self) -> bool {
        matches!(self, Self::Passed | Self::PassedOnRetry(_))
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotRun => "",
            Self::Passed => "ok",
            Self::PassedOnRetry(_) => "ok, then",
            Self::Failed(_) => "WRONG",
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:58}", "")?;
        for kind in &self.kinds {
            write!(f, "{kind:13}")?;
        }
        writeln!(f, "expected")?;
        for (row, cells) in self.rows.iter().zip(self.cells.chunks(self.kinds.len())) {
            write!(f, "{row:58}")?;
            for cell in cells {
                write!(f, "{cell:13}")?;
            }
            writeln!(f, "{}", row.expected())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::table::Phase;

    fn report() -> Report {
        let row = Arc::new(Phase::Waiting.scenario("rain", "wet", async |_| Ok(())));
        Report::new(vec![row], &[ClientKind::Rust, ClientKind::Throttlectl, ClientKind::PythonSync])
    }

    #[test]
    fn a_failure_names_scenario_client_and_expected_outcome() {
        let mut report = report();
        report.record(0, Ok(()));
        report.record(1, Err(anyhow!("dry").context("it should be wet")));
        let expected = [
            "waiting: rain [throttlectl]: expected: wet; but: it should be wet: dry",
            "waiting: rain [Python sync]: expected: wet; but: it was not run",
        ];
        assert_eq!(report.failures(), expected);
        assert_eq!(report.to_string().matches("WRONG").count(), 1);
    }

    #[test]
    fn a_trial_that_passes_on_retry_is_listed_but_is_no_failure() {
        let mut report = report();
        report.record(0, Ok(()));
        report.record(1, Err(anyhow!("dry")));
        let open = report.not_passed().into_iter().map(|(cell, _, kind)| (cell, kind));
        assert_eq!(
            open.collect::<Vec<_>>(),
            [(1, ClientKind::Throttlectl), (2, ClientKind::PythonSync)]
        );
        report.record(1, Ok(()));
        report.record(2, Ok(()));
        assert_eq!(report.passed_on_retry(), ["waiting: rain [throttlectl]: wrong at first: dry"]);
        assert!(report.failures().is_empty());
    }
}

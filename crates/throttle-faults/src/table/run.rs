//! Runs the trials of the table. Most of them only wait, so many run at a time.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinSet};

use super::{Report, Trial, scenarios};
use crate::client_kind::{ClientKind, Programs};

/// The part of the table to run.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only rows whose title contains this.
    pub row: Option<String>,
    /// The client kinds.
    pub kinds: Vec<ClientKind>,
    /// How many trials run at a time.
    pub at_a_time: usize,
}

/// Runs the table. Failed trials are repeated with few at a time, because an overloaded machine can exceed any
/// time limit.
///
/// # Errors
///
/// A script panicked.
pub async fn run(programs: &Arc<Programs>, selection: &Selection) -> anyhow::Result<Report> {
    let Selection { row, kinds, at_a_time } = selection;
    let is_chosen = |title: &str| row.as_ref().is_none_or(|row| title.contains(row.as_str()));
    let rows = scenarios().into_iter().filter(|row| is_chosen(&row.to_string()));
    let mut report = Report::new(rows.map(Arc::new).collect(), kinds);
    for at_a_time in [*at_a_time, RETRY_AT_A_TIME] {
        run_scenarios(programs, &mut report, at_a_time).await?;
    }
    Ok(report)
}

/// Runs all trials that have not passed yet.
async fn run_scenarios(
    programs: &Arc<Programs>,
    report: &mut Report,
    at_a_time: usize,
) -> anyhow::Result<()> {
    let permits = Arc::new(Semaphore::new(at_a_time));
    let mut trials = JoinSet::new();
    for (cell, scenario, kind) in report.not_passed() {
        let (programs, permits) = (Arc::clone(programs), Arc::clone(&permits));
        trials.spawn(async move {
            let _permit = permits.acquire_owned().await?;
            let result = match Trial::new(programs, kind) {
                Ok(trial) => scenario.run(trial).await,
                Err(error) => Err(error),
            };
            anyhow::Ok((cell, result))
        });
    }
    while let Some(trial) = trials.join_next().await {
        let (cell, result) = trial??;
        report.record(cell, result);
    }
    Ok(())
}

/// How many trials run at a time when they are repeated.
const RETRY_AT_A_TIME: usize = 6;

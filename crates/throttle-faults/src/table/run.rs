//! Plays rows with forms, many at a time: most of them only wait.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinSet};

use super::{Case, Report, rows};
use crate::form::{Form, Programs};

/// Which rows are played, with which forms.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only rows whose title contains this.
    pub row: Option<String>,
    /// The columns.
    pub forms: Vec<Form>,
    /// How many are played at a time.
    pub at_a_time: usize,
}

/// Plays the table. What is wrong is played once more with few at a time, for a machine that has too much to
/// do can be too late for any limit.
///
/// # Errors
///
/// A script did not come to its end.
pub async fn run(programs: &Arc<Programs>, selection: &Selection) -> anyhow::Result<Report> {
    let Selection { row, forms, at_a_time } = selection;
    let is_chosen = |title: &str| row.as_ref().is_none_or(|row| title.contains(row.as_str()));
    let rows = rows().into_iter().filter(|row| is_chosen(&row.to_string()));
    let mut report = Report::new(rows.map(Arc::new).collect(), forms);
    for at_a_time in [*at_a_time, FEW] {
        play(programs, &mut report, at_a_time).await?;
    }
    Ok(report)
}

/// Plays what the report does not know to be right.
async fn play(
    programs: &Arc<Programs>,
    report: &mut Report,
    at_a_time: usize,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(at_a_time));
    let mut plays = JoinSet::new();
    for (cell, row, form) in report.open() {
        let (programs, places) = (Arc::clone(programs), Arc::clone(&places));
        plays.spawn(async move {
            let _place = places.acquire_owned().await?;
            let result = match Case::new(programs, form) {
                Ok(case) => row.play(case).await,
                Err(error) => Err(error),
            };
            anyhow::Ok((cell, result))
        });
    }
    while let Some(play) = plays.join_next().await {
        let (cell, result) = play??;
        report.note(cell, result);
    }
    Ok(())
}

/// How many are played at a time when they are played once more.
const FEW: usize = 6;

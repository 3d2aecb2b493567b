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

/// Plays the table.
///
/// # Errors
///
/// A script did not come to its end.
pub async fn run(programs: &Arc<Programs>, selection: &Selection) -> anyhow::Result<Report> {
    let Selection { row, forms, at_a_time } = selection;
    let is_chosen = |title: &str| row.as_ref().is_none_or(|row| title.contains(row.as_str()));
    let rows = rows().into_iter().filter(|row| is_chosen(&row.to_string()));
    let rows = rows.map(Arc::new).collect::<Vec<_>>();
    let places = Arc::new(Semaphore::new(*at_a_time));
    let mut plays = JoinSet::new();
    for (number, row) in rows.iter().enumerate() {
        for &form in forms {
            let (row, places) = (Arc::clone(row), Arc::clone(&places));
            let programs = Arc::clone(programs);
            plays.spawn(async move {
                let _place = places.acquire_owned().await?;
                let result = match Case::new(programs, form) {
                    Ok(case) => row.play(case).await,
                    Err(error) => Err(error),
                };
                anyhow::Ok((number, form, result))
            });
        }
    }
    let mut report = Report::new(&rows, forms);
    while let Some(play) = plays.join_next().await {
        let (number, form, result) = play??;
        report.note(number, form, result);
    }
    Ok(report)
}

//! What became of rows and forms, as a table for people.

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
};

use super::Row;
use crate::form::Form;

/// The results of a table.
#[derive(Debug)]
pub struct Report {
    rows: Vec<Arc<Row>>,
    forms: Vec<Form>,
    /// In the order of rows, and in each of forms; `None` until it was played.
    cells: Vec<Option<Result<(), String>>>,
}

impl Report {
    /// A table of which nothing was played yet.
    pub fn new(rows: &[Arc<Row>], forms: &[Form]) -> Self {
        let cells = vec![None; rows.len() * forms.len()];
        Self { rows: rows.to_vec(), forms: forms.to_vec(), cells }
    }

    /// Notes what became of a row, by its number, with a form.
    ///
    /// # Panics
    ///
    /// If there is no such row or form.
    pub fn note(&mut self, row: usize, form: Form, result: anyhow::Result<()>) {
        let column = self.forms.iter().position(|it| *it == form).expect("it is a column");
        let cell = &mut self.cells[row * self.forms.len() + column];
        *cell = Some(result.map_err(|error| format!("{error:#}")));
    }

    /// What is wrong: a line for each row and form, which names both.
    pub fn mismatches(&self) -> Vec<String> {
        let places =
            self.rows.iter().flat_map(|row| self.forms.iter().map(move |form| (row, form)));
        let wrong = places.zip(&self.cells).filter_map(|((row, form), cell)| {
            let message = match cell {
                Some(Ok(())) => return None,
                Some(Err(message)) => message,
                None => "it was not played",
            };
            Some(format!("{row} [{form}]: right: {}; wrong: {message}", row.right()))
        });
        wrong.collect()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:58}", "")?;
        for form in &self.forms {
            write!(f, "{form:13}")?;
        }
        writeln!(f, "right")?;
        for (row, cells) in self.rows.iter().zip(self.cells.chunks(self.forms.len())) {
            write!(f, "{row:58}")?;
            for cell in cells {
                let text = if matches!(cell, Some(Ok(()))) { "ok" } else { "WRONG" };
                write!(f, "{text:13}")?;
            }
            writeln!(f, "{}", row.right())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::table::Phase;

    #[test]
    fn a_mismatch_names_row_and_form_and_what_is_right() {
        let row = Arc::new(Row::new(Phase::Waiting, "rain", "wet", async |_| Ok(())));
        let mut report = Report::new(&[row], &[Form::Rust, Form::Throttlectl, Form::PythonSync]);
        report.note(0, Form::Throttlectl, Err(anyhow!("dry").context("it should be wet")));
        report.note(0, Form::Rust, Ok(()));
        let expected = [
            "waiting: rain [throttlectl]: right: wet; wrong: it should be wet: dry",
            "waiting: rain [Python sync]: right: wet; wrong: it was not played",
        ];
        assert_eq!(report.mismatches(), expected);
        assert_eq!(report.to_string().matches("WRONG").count(), 2);
    }
}

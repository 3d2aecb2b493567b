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
    /// In the order of rows, and in each of forms.
    cells: Vec<Cell>,
}

/// What became of a row with a form.
#[derive(Clone, Debug)]
enum Cell {
    NotPlayed,
    Right,
    /// It was wrong at first, with this message.
    RightThen(String),
    Wrong(String),
}

impl Report {
    /// A table of which nothing was played yet.
    pub fn new(rows: Vec<Arc<Row>>, forms: &[Form]) -> Self {
        let cells = vec![Cell::NotPlayed; rows.len() * forms.len()];
        Self { rows, forms: forms.to_vec(), cells }
    }

    /// The cells that are not known to be right, each with its number.
    pub fn open(&self) -> Vec<(usize, Arc<Row>, Form)> {
        let open = (0..).zip(self.places()).filter(|(_, (_, _, cell))| !cell.is_right());
        open.map(|(number, (row, form, _))| (number, Arc::clone(row), form)).collect()
    }

    /// Notes what became of a cell, by its number.
    ///
    /// # Panics
    ///
    /// If there is no such cell.
    pub fn note(&mut self, cell: usize, result: anyhow::Result<()>) {
        let cell = &mut self.cells[cell];
        *cell = match (result, &*cell) {
            (Err(error), _) => Cell::Wrong(format!("{error:#}")),
            (Ok(()), Cell::Wrong(message)) => Cell::RightThen(message.clone()),
            (Ok(()), _) => Cell::Right,
        };
    }

    /// What is wrong: a line for each row and form, which names both.
    pub fn mismatches(&self) -> Vec<String> {
        let wrong = self.places().filter_map(|(row, form, cell)| {
            let message = match cell {
                Cell::Right | Cell::RightThen(_) => return None,
                Cell::Wrong(message) => message,
                Cell::NotPlayed => "it was not played",
            };
            Some(format!("{row} [{form}]: right: {}; wrong: {message}", row.right()))
        });
        wrong.collect()
    }

    /// What was wrong the first time only, in the same form.
    pub fn doubts(&self) -> Vec<String> {
        let doubts = self.places().filter_map(|(row, form, cell)| match cell {
            Cell::RightThen(message) => Some(format!("{row} [{form}]: wrong at first: {message}")),
            _ => None,
        });
        doubts.collect()
    }

    fn places(&self) -> impl Iterator<Item = (&Arc<Row>, Form, &Cell)> {
        let places =
            self.rows.iter().flat_map(|row| self.forms.iter().map(move |form| (row, *form)));
        places.zip(&self.cells).map(|((row, form), cell)| (row, form, cell))
    }
}

impl Cell {
    fn is_right(&self) -> bool {
        matches!(self, Self::Right | Self::RightThen(_))
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotPlayed => "",
            Self::Right => "ok",
            Self::RightThen(_) => "ok, then",
            Self::Wrong(_) => "WRONG",
        })
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
                write!(f, "{cell:13}")?;
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

    fn report() -> Report {
        let row = Arc::new(Row::new(Phase::Waiting, "rain", "wet", async |_| Ok(())));
        Report::new(vec![row], &[Form::Rust, Form::Throttlectl, Form::PythonSync])
    }

    #[test]
    fn a_mismatch_names_row_and_form_and_what_is_right() {
        let mut report = report();
        report.note(0, Ok(()));
        report.note(1, Err(anyhow!("dry").context("it should be wet")));
        let expected = [
            "waiting: rain [throttlectl]: right: wet; wrong: it should be wet: dry",
            "waiting: rain [Python sync]: right: wet; wrong: it was not played",
        ];
        assert_eq!(report.mismatches(), expected);
        assert_eq!(report.to_string().matches("WRONG").count(), 1);
    }

    #[test]
    fn what_is_right_the_second_time_is_told_but_no_mismatch() {
        let mut report = report();
        report.note(0, Ok(()));
        report.note(1, Err(anyhow!("dry")));
        let open = report.open().into_iter().map(|(cell, _, form)| (cell, form));
        assert_eq!(open.collect::<Vec<_>>(), [(1, Form::Throttlectl), (2, Form::PythonSync)]);
        report.note(1, Ok(()));
        report.note(2, Ok(()));
        assert_eq!(report.doubts(), ["waiting: rain [throttlectl]: wrong at first: dry"]);
        assert!(report.mismatches().is_empty());
    }
}

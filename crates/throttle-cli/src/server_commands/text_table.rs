//! A table as text, with each column as wide as its widest cell.

use std::fmt;

use crate::escape::escape_for_terminal;

/// A table without borders, so that other programs can read it.
#[derive(Debug)]
pub(super) struct TextTable(Vec<Vec<String>>);

impl TextTable {
    /// A table with these names of columns; without a header if there are none.
    pub(super) fn new(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        Self(if names.is_empty() { Vec::new() } else { vec![names] })
    }

    /// Adds a row. Escapes the cells for terminals, because names come from other people.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().map(|cell| escape_for_terminal(&cell)).collect());
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let mut widths = vec![0; columns];
        for row in &self.0 {
            for (cell, width) in row.iter().zip(&mut widths) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.0 {
            let mut line = String::new();
            for (cell, &width) in row.iter().zip(&widths) {
                line += &format!("{cell:width$}  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_names_cannot_move_the_cursor() {
        let mut table = TextTable::new(&["NAME", "COUNT"]);
        table.row(["käse".to_owned(), "1".to_owned()]);
        table.row(["ä\x1b[2J".to_owned(), "22".to_owned()]);
        let expected = "NAME        COUNT\nkäse        1\nä\\u{1b}[2J  22\n";
        assert_eq!(table.to_string(), expected);
    }
}

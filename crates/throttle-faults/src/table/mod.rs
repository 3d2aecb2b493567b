//! The table: what is right for every form of the client when something goes wrong.
//!
//! Its rows are sorted by what a lock goes through: it is asked for, waited for, held, given back.

mod case;
mod creating;
mod holding;
mod releasing;
mod report;
mod row;
mod run;
mod waiting;

pub use self::{
    case::Case,
    report::Report,
    row::{Phase, Row},
    run::{Selection, run},
};

/// All rows.
pub fn rows() -> Vec<Row> {
    let phases = [creating::rows(), waiting::rows(), holding::rows(), releasing::rows()];
    phases.into_iter().flatten().collect()
}

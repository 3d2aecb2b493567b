//! The table: what is right for every form of the client when something goes wrong.
//!
//! Its rows are sorted by what a lock goes through: it is requested_at for, waited for, held, given back.

mod holding;
mod releasing;
mod report;
mod requesting;
mod run;
mod scenario;
mod trial;
mod waiting;

pub use self::{
    report::Report,
    run::{Selection, run},
    scenario::{Phase, Scenario},
    trial::Trial,
};

/// All rows.
pub fn scenarios() -> Vec<Scenario> {
    let phases = [
        requesting::scenarios(),
        waiting::scenarios(),
        holding::scenarios(),
        releasing::scenarios(),
    ];
    phases.into_iter().flatten().collect()
}

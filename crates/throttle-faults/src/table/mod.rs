//! The table: the expected outcome for every client kind if a fault happens.
//!
//! Its rows are scenarios, in the order of the phases of a lock: requesting, waiting, holding, releasing.

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

/// All scenarios.
pub fn scenarios() -> Vec<Scenario> {
    let phases = [
        requesting::scenarios(),
        waiting::scenarios(),
        holding::scenarios(),
        releasing::scenarios(),
    ];
    phases.into_iter().flatten().collect()
}

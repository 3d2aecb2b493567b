//! The time from the start of a server to its first answer, and the size of its program.

use std::fs;

use crate::{
    figures::{Figures, Measure, Subject},
    plan::Plan,
    server::{Launcher, start_up_time},
};

/// Starts each server once in each round.
pub(crate) fn start_up(
    launcher: &Launcher,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for _ in 0..plan.rounds.max(5) {
        for kind in launcher.kinds() {
            let millis = start_up_time(launcher, kind)?.as_secs_f64() * 1e3;
            figures.note(("first answer", "nobody"), Subject::from(kind), Measure::Millis, millis);
        }
    }
    for (kind, program) in &launcher.programs {
        let bytes = fs::metadata(program)?.len() as f64;
        figures.note(("program", "file"), Subject::from(*kind), Measure::Bytes, bytes);
    }
    Ok(())
}

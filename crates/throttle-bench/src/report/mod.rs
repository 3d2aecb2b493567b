//! The results of a run: tables for people, JSON for programs, plots for documents.

mod machine;
mod plot;
mod table;
mod targets;

use std::{fs, path::Path};

use anyhow::Context as _;
use serde::Serialize;

use self::{machine::Machine, targets::Target};
use crate::{figures::Figures, pin::Pins, plan::Plan, server::Launcher};

/// The figures of a run, with the circumstances under which they were measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    pins: Pins,
    rounds: usize,
    seconds: f64,
    targets: Vec<Target>,
    figures: Figures,
}

impl Report {
    pub(crate) fn new(launcher: &Launcher, plan: &Plan, figures: Figures) -> Self {
        Self {
            machine: Machine::this(),
            pins: launcher.pins,
            rounds: plan.rounds,
            seconds: plan.time.as_secs_f64(),
            targets: targets::all(&figures),
            figures,
        }
    }

    /// Tables in Markdown, which are readable as plain text.
    pub(crate) fn text(&self) -> String {
        let pinned = if self.pins.pinned {
            "server and load pinned to a processor each"
        } else {
            "server and load not pinned"
        };
        format!(
            "{}\n{pinned}; medians of {} rounds of {} s each, fewer where it takes long to prepare\n\n\
             {}{}",
            self.machine,
            self.rounds,
            self.seconds,
            table::figures(&self.figures),
            table::targets(&self.targets)
        )
    }

    /// Writes `figures.json`, `tables.md` and the plots into a directory.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let write = |name: &str, text: &str| {
            let file = directory.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
        };
        fs::create_dir_all(directory)?;
        write("figures.json", &(serde_json::to_string_pretty(self)? + "\n"))?;
        write("tables.md", &self.text())?;
        for (name, drawing) in plot::all(&self.figures)? {
            write(name, &drawing)?;
        }
        Ok(())
    }
}

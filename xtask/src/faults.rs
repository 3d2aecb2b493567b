//! Runs every client kind behind a proxy that injects faults.
//!
//! The package `throttle-faults` runs them. This verb builds it, `throttlectl` and the Python package.

use std::env::consts::EXE_SUFFIX;

use xshell::{Shell, cmd};

use crate::{flags::Faults, venv, workspace::Workspace};

/// Runs the table of faults, then the history of exclusion.
pub(crate) fn run(sh: &Shell, workspace: &Workspace, flags: &Faults) -> anyhow::Result<()> {
    cmd!(sh, "cargo build --package throttle-faults --package throttle-cli").run()?;
    let faults = workspace.target_dir.join("debug").join(format!("throttle-faults{EXE_SUFFIX}"));
    let python = venv::with_package(sh, workspace)?;
    if !flags.history {
        let row = flags.row.iter().flat_map(|row| ["--row", row]);
        cmd!(sh, "{faults} table --python {python} {row...}").run()?;
    }
    if flags.row.is_none() {
        let seconds = if flags.quick { "10" } else { "120" };
        let seed = flags.seed.unwrap_or(1).to_string();
        cmd!(sh, "{faults} history --python {python} --seconds {seconds} --seed {seed}").run()?;
    }
    Ok(())
}

/// The short form for continuous integration: all rows, and a short history.
pub(crate) fn quick(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    run(sh, workspace, &Faults { quick: true, history: false, row: None, seed: None })
}

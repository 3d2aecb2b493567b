//! Kills the server under load and checks that it kept its promises.
//!
//! The package `throttle-faults` does it. This verb builds it, the server, `throttlectl` and the Python package.

use std::{env::consts::EXE_SUFFIX, path::PathBuf};

use xshell::{Shell, cmd};

use crate::{flags::Crash, venv, workspace::Workspace};

/// Checks that servers which break a promise on purpose are found, then kills the real one.
pub(crate) fn run(sh: &Shell, workspace: &Workspace, flags: &Crash) -> anyhow::Result<()> {
    let packages = ["throttle-faults", "throttle-server", "throttle-cli"];
    let packages = packages.into_iter().flat_map(|package| ["--package", package]);
    cmd!(sh, "cargo build {packages...}").run()?;
    let faults = workspace.target_dir.join("debug").join(format!("throttle-faults{EXE_SUFFIX}"));
    let python = venv::with_package(sh, workspace)?;
    let seed = flags.seed.unwrap_or(1).to_string();
    if !flags.no_controls {
        cmd!(sh, "{faults} crash-controls --seed {seed}").run()?;
    }
    let rounds = flags.rounds.unwrap_or(1_000).to_string();
    let server = flags.server.iter().flat_map(|path| [PathBuf::from("--server"), path.clone()]);
    cmd!(sh, "{faults} crash --python {python} --rounds {rounds} --seed {seed} {server...}")
        .run()?;
    Ok(())
}

/// The short form for continuous integration: all controls, and 30 kills.
pub(crate) fn quick(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let flags = Crash { rounds: Some(30), seed: None, server: None, no_controls: false };
    run(sh, workspace, &flags)
}

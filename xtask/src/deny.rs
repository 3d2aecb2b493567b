//! The dependencies, by `cargo-deny` and its rules in `deny.toml`.

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::workspace::Workspace;

/// Checks licences, bans and sources, which needs no network; advisories only when asked.
pub(crate) fn run(sh: &Shell, workspace: &Workspace, advisories: bool) -> anyhow::Result<()> {
    let deny = tool(sh, workspace)?;
    // It reads the sources of all platforms, of which a build here needs only some.
    cmd!(sh, "cargo fetch --locked").run()?;
    cmd!(sh, "{deny} --offline check licenses bans sources").run()?;
    if advisories {
        cmd!(sh, "{deny} check advisories").run()?;
    }
    Ok(())
}

/// The installed `cargo-deny` if it is the right one; else our own, installed now if need be.
fn tool(sh: &Shell, workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let installed = PathBuf::from("cargo-deny");
    if is_wanted(sh, &installed) {
        return Ok(installed);
    }
    let tools = workspace.target_dir.join("tools");
    let ours = tools.join("bin/cargo-deny");
    if !is_wanted(sh, &ours) {
        cmd!(sh, "cargo install --locked --root {tools} cargo-deny@0.20.2").run()?;
    }
    Ok(ours)
}

/// Whether `program` runs and understands the form of our `deny.toml`.
fn is_wanted(sh: &Shell, program: &Path) -> bool {
    let version = cmd!(sh, "{program} --version").quiet().ignore_stderr().read();
    version.is_ok_and(|version| version.starts_with("cargo-deny 0.20."))
}

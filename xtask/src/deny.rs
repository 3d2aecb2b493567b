//! Licences, sources, bans and duplicates of dependencies, by `cargo-deny` and its rules in `deny.toml`.

use xshell::{Shell, cmd};

use crate::{tool, workspace::Workspace};

/// Checks licences, bans and sources, which takes no network; advisories only if asked for.
pub(crate) fn run(sh: &Shell, workspace: &Workspace, advisories: bool) -> anyhow::Result<()> {
    let deny = tool::find(sh, workspace, "cargo-deny")?;
    // It reads the sources of all platforms; a build here needs only some of them.
    cmd!(sh, "cargo fetch --locked").run()?;
    cmd!(sh, "{deny} --offline check licenses bans sources").run()?;
    if advisories {
        cmd!(sh, "{deny} check advisories").run()?;
    }
    Ok(())
}

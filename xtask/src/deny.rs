//! The dependencies, by `cargo-deny` and its rules in `deny.toml`.

use xshell::{Shell, cmd};

use crate::{tool::Tool, workspace::Workspace};

/// Any of these versions understands the form of our `deny.toml`.
const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", accepted: "cargo-deny 0.20." };

/// Checks licences, bans and sources, which needs no network; advisories only when asked.
pub(crate) fn run(sh: &Shell, workspace: &Workspace, advisories: bool) -> anyhow::Result<()> {
    let deny = DENY.find(sh, workspace)?;
    // It reads the sources of all platforms, of which a build here needs only some.
    cmd!(sh, "cargo fetch --locked").run()?;
    cmd!(sh, "{deny} --offline check licenses bans sources").run()?;
    if advisories {
        cmd!(sh, "{deny} check advisories").run()?;
    }
    Ok(())
}

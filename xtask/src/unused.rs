//! Dependencies that a manifest names and no source does, by `cargo-machete`.
//!
//! The compiler has a lint for it, `unused_crate_dependencies`, but asks it of each target by itself:
//! a test that does not use what another one needs would be a warning.

use xshell::{Shell, cmd};

use crate::{tool::Tool, workspace::Workspace};

const MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2", accepted: "0.9." };

/// Fails if there is such a dependency, and names it.
pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let machete = MACHETE.find(sh, workspace)?;
    // The metadata have the names by which sources call packages.
    Ok(cmd!(sh, "{machete} --with-metadata --skip-target-dir").run()?)
}

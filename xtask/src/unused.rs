//! Dependencies that a manifest names and no source uses, by `cargo-shear`.
//!
//! The compiler's own lint, `unused_crate_dependencies`, judges each target alone: a dev-dependency that
//! one test uses and another does not would be a warning.

use xshell::{Shell, cmd};

use crate::{tool, workspace::Workspace};

/// Fails if there is such a dependency, and names it.
pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let shear = tool::find(sh, workspace, "cargo-shear")?;
    Ok(cmd!(sh, "{shear}").run()?)
}

//! What would be published: each package that is meant for crates.io, built from nothing but what is
//! in it. So a file left out or a feature borrowed from a neighbour shows here, not at a user.

use xshell::{Shell, cmd};

use crate::workspace::Workspace;

pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let published = workspace.packages.iter().filter(|it| it.published);
    let packages = published.flat_map(|it| ["--package", &it.name]);
    Ok(cmd!(sh, "cargo package --allow-dirty {packages...}").run()?)
}

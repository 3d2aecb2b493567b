//! What would be published: each package that is meant for crates.io, built from nothing but what is
//! in it. So a file left out or a feature borrowed from a neighbour shows here, not at a user.

use xshell::{Shell, cmd};

use crate::workspace::Workspace;

pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let published = workspace.packages.iter().filter(|it| it.published);
    let packages = published.flat_map(|it| ["--package", &it.name]);
    // Cargo keeps what it unpacked of a package of the same version at the same place, also when the
    // package is another one by now. So the place is a new one each time.
    let target = sh.create_temp_dir()?;
    // The temporary directory of an earlier run may have had the same name.
    let target = target.path().join(std::process::id().to_string());
    Ok(cmd!(sh, "cargo package --allow-dirty --target-dir {target} {packages...}").run()?)
}

//! Builds each package for crates.io from its own archive alone, to find files that are left out, and features that
//! only another package of the workspace enables.

use xshell::{Shell, cmd};

use crate::workspace::Workspace;

pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let published = workspace.packages.iter().filter(|it| it.published);
    let packages = published.flat_map(|it| ["--package", &it.name]);
    // Cargo reuses the unpacked files of a package of the same version, even if the package has changed since. So
    // the directory is a new one each time.
    let target = sh.create_temp_dir()?;
    // An earlier run may have had a temporary directory of the same name.
    let target = target.path().join(std::process::id().to_string());
    Ok(cmd!(sh, "cargo package --allow-dirty --target-dir {target} {packages...}").run()?)
}

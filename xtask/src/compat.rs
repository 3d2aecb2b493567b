//! Clients of the old system in the field: the last Python package and the last Rust crate that were
//! published, driven against our server.

use std::{env::consts::EXE_SUFFIX, path::Path};

use xshell::{Shell, cmd};

use crate::{
    venv::{QUIET, environment},
    workspace::Workspace,
};

/// Runs the suites in `compat/`. What they need besides this repository comes from PyPI and
/// crates.io, and stays below the target directory.
pub(crate) fn run(sh: &Shell) -> anyhow::Result<()> {
    let target = Workspace::load(sh)?.target_dir;
    let compat = target.join("compat");
    cmd!(sh, "cargo build --package throttle-server --bin throttle").run()?;
    let server = target.join("debug").join(format!("throttle{EXE_SUFFIX}"));
    let _server = sh.push_env("THROTTLE_BIN", server);
    python(sh, &compat)?;
    rust(sh, &compat)
}

fn python(sh: &Shell, compat: &Path) -> anyhow::Result<()> {
    let python = environment(sh, &compat.join("venv"))?;
    let requirements = "compat/python/requirements.txt";
    cmd!(sh, "{python} -m pip install {QUIET...} --requirement {requirements}").run()?;
    // It shall not leave compiled files beside the sources.
    Ok(cmd!(sh, "{python} -B -m pytest --quiet compat/python").run()?)
}

fn rust(sh: &Shell, compat: &Path) -> anyhow::Result<()> {
    let manifest = "compat/rust/Cargo.toml";
    let target = compat.join("rust");
    let options = ["--quiet", "--locked"];
    let test = cmd!(sh, "cargo test {options...} --manifest-path {manifest} --target-dir {target}");
    Ok(test.run()?)
}

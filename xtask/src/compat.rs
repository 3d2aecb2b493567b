//! Compatibility with the clients of the old system: the last published Python package and Rust crate, run against
//! our server.

use std::{env::consts::EXE_SUFFIX, path::Path};

use xshell::{Shell, cmd};

use crate::{
    venv::{QUIET, environment},
    workspace::Workspace,
};

/// Runs the suites in `compat/`. Their dependencies come from PyPI and crates.io, and stay below the target
/// directory.
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
    // `-B` keeps compiled files out of the sources.
    Ok(cmd!(sh, "{python} -B -m pytest --quiet compat/python").run()?)
}

fn rust(sh: &Shell, compat: &Path) -> anyhow::Result<()> {
    let manifest = "compat/rust/Cargo.toml";
    let target = compat.join("rust");
    let options = ["--quiet", "--locked"];
    let test = cmd!(sh, "cargo test {options...} --manifest-path {manifest} --target-dir {target}");
    Ok(test.run()?)
}

//! Clients of the old system in the field: the last Python package and the last Rust crate that were
//! published, driven against our server.

use std::{
    env::consts::EXE_SUFFIX,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::workspace::Workspace;

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
    let quiet = ["--quiet", "--disable-pip-version-check"];
    cmd!(sh, "{python} -m pip install {quiet...} --requirement {requirements}").run()?;
    // It shall not leave compiled files beside the sources.
    Ok(cmd!(sh, "{python} -B -m pytest --quiet compat/python").run()?)
}

/// The interpreter of a virtual environment, made now unless a sound one is there.
fn environment(sh: &Shell, venv: &Path) -> anyhow::Result<PathBuf> {
    let (system, ours) =
        if cfg!(windows) { ("python", r"Scripts\python.exe") } else { ("python3", "bin/python") };
    let python = venv.join(ours);
    let is_sound = cmd!(sh, "{python} -m pip --version").quiet().ignore_stderr().read().is_ok();
    if !is_sound {
        cmd!(sh, "{system} -m venv --clear {venv}").run().context(
            "the compatibility suite takes Python 3.11 or later with its `venv` module; on Debian \
             and Ubuntu, `apt-get install python3-venv` provides both",
        )?;
    }
    Ok(python)
}

fn rust(sh: &Shell, compat: &Path) -> anyhow::Result<()> {
    let manifest = "compat/rust/Cargo.toml";
    let target = compat.join("rust");
    let options = ["--quiet", "--locked"];
    let test = cmd!(sh, "cargo test {options...} --manifest-path {manifest} --target-dir {target}");
    Ok(test.run()?)
}

//! Virtual environments of Python.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::workspace::Workspace;

/// Keeps pip from printing progress and hints.
pub(crate) const QUIET: [&str; 2] = ["--quiet", "--disable-pip-version-check"];

/// The interpreter of a virtual environment, which is created if it is missing or broken.
pub(crate) fn environment(sh: &Shell, venv: &Path) -> anyhow::Result<PathBuf> {
    let (system, ours) =
        if cfg!(windows) { ("python", r"Scripts\python.exe") } else { ("python3", "bin/python") };
    let python = venv.join(ours);
    let is_sound = cmd!(sh, "{python} -m pip --version").quiet().ignore_stderr().read().is_ok();
    if !is_sound {
        cmd!(sh, "{system} -m venv --clear {venv}").run().context(
            "this takes Python 3.11 or later with its `venv` module; on Debian and Ubuntu, `apt-get \
             install python3-venv` provides both",
        )?;
    }
    Ok(python)
}

/// An interpreter with our package, built from the current sources.
pub(crate) fn with_package(sh: &Shell, workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let python = environment(sh, &workspace.target_dir.join("python/venv"))?;
    // The profile that builds fast; the speed of the package is not tested.
    let _profile = sh.push_env("MATURIN_PEP517_ARGS", "--profile dev");
    let _target = sh.push_env("CARGO_TARGET_DIR", &workspace.target_dir);
    let force = ["--force-reinstall", "--no-deps"];
    cmd!(sh, "{python} -m pip install {QUIET...} {force...} ./crates/throttle-python").run()?;
    Ok(python)
}

//! Virtual environments of Python, for what takes the interpreter.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xshell::{Shell, cmd};

/// For pip: no news of the day.
pub(crate) const QUIET: [&str; 2] = ["--quiet", "--disable-pip-version-check"];

/// The interpreter of a virtual environment, made now unless a sound one is there.
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

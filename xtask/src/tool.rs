//! Programs of cargo that are not part of the toolchain: the installed one, or one of our own.

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::workspace::Workspace;

/// A program that `cargo install` brings.
pub(crate) struct Tool {
    /// Its name, and that of its package.
    pub(crate) name: &'static str,
    /// The version to install.
    pub(crate) version: &'static str,
    /// What `--version` prints begins with this if the program does what is asked of it here.
    pub(crate) accepted: &'static str,
}

impl Tool {
    /// The installed program if it is the right one; else our own, installed now if need be.
    ///
    /// # Errors
    ///
    /// If it cannot be installed.
    pub(crate) fn find(&self, sh: &Shell, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        let Self { name, version, .. } = self;
        let installed = PathBuf::from(name);
        if self.is_accepted(sh, &installed) {
            return Ok(installed);
        }
        let tools = workspace.target_dir.join("tools");
        let ours = tools.join("bin").join(name);
        if !self.is_accepted(sh, &ours) {
            cmd!(sh, "cargo install --locked --root {tools} {name}@{version}").run()?;
        }
        Ok(ours)
    }

    fn is_accepted(&self, sh: &Shell, program: &Path) -> bool {
        let version = cmd!(sh, "{program} --version").quiet().ignore_stderr().read();
        version.is_ok_and(|version| version.starts_with(self.accepted))
    }
}

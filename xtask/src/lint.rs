//! The checks of the toolchain: formatting, lints, documentation.

use xshell::{Shell, cmd};

pub(crate) fn fmt(sh: &Shell) -> anyhow::Result<()> {
    cmd!(sh, "cargo fmt --all --check").run()?;
    // This package is outside the workspace.
    cmd!(sh, "cargo fmt --manifest-path compat/rust/Cargo.toml --check").run()?;
    Ok(())
}

/// A warning is an error. So is `unwrap` outside tests, because it fails without an explanation.
pub(crate) fn clippy(sh: &Shell) -> anyhow::Result<()> {
    cmd!(sh, "cargo clippy --workspace --all-targets -- -D warnings").run()?;
    // These targets are without the tests, which may unwrap.
    cmd!(sh, "cargo clippy --workspace --lib --bins -- -D warnings -D clippy::unwrap_used")
        .run()?;
    // The feature takes `make` to build.
    if cmd!(sh, "make --version").quiet().ignore_stdout().ignore_stderr().run().is_ok() {
        let server = ["--package", "throttle-server", "--features", "jemalloc"];
        cmd!(sh, "cargo clippy {server...} -- -D warnings").run()?;
    }
    Ok(())
}

pub(crate) fn doc(sh: &Shell) -> anyhow::Result<()> {
    cmd!(sh, "cargo doc --workspace --no-deps --document-private-items")
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    Ok(())
}

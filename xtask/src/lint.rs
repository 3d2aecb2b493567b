//! What the toolchain itself checks: formatting, lints, documentation.

use xshell::{Shell, cmd};

pub(crate) fn fmt(sh: &Shell) -> anyhow::Result<()> {
    cmd!(sh, "cargo fmt --all --check").run()?;
    // Outside the workspace, but of the same house.
    cmd!(sh, "cargo fmt --manifest-path compat/rust/Cargo.toml --check").run()?;
    Ok(())
}

/// A warning is an error; and `unwrap`, which says nothing when it fails, is one outside tests.
pub(crate) fn clippy(sh: &Shell) -> anyhow::Result<()> {
    cmd!(sh, "cargo clippy --workspace --all-targets -- -D warnings").run()?;
    // The tests, which may unwrap, are not among these targets.
    cmd!(sh, "cargo clippy --workspace --lib --bins -- -D warnings -D clippy::unwrap_used")
        .run()?;
    // What takes more than Rust to build is looked at where that is there.
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

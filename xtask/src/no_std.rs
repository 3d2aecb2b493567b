//! Proves that `throttle-core` and its dependencies do not use the standard library.
//!
//! The attribute `#![no_std]` is not enough: a dependency may still use the library. So the crate is built for a
//! target without it: a microcontroller if that target is installed, otherwise the target of this machine in a
//! toolchain directory that contains only `core` and `alloc`.

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::workspace::Workspace;

const BARE_METAL: &str = "thumbv7em-none-eabihf";

pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    if library_dir(sh, BARE_METAL)?.exists() {
        let check = cmd!(sh, "cargo check --package throttle-core --lib --target {BARE_METAL}");
        return Ok(check.run()?);
    }
    let host = cmd!(sh, "rustc --print host-tuple").quiet().read()?;
    let sysroot = workspace.target_dir.join("no-std-sysroot");
    copy_libraries(
        sh,
        &library_dir(sh, &host)?,
        &sysroot.join("lib/rustlib").join(&host).join("lib"),
    )?;
    // With `--target`, these flags do not apply to build scripts and macros, which may use `std`.
    cmd!(sh, "cargo check --package throttle-core --lib --target {host}")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--sysroot\u{1f}{}", sysroot.display()))
        .run()?;
    Ok(())
}

/// The directory of the compiled libraries of a target, whether it exists or not.
fn library_dir(sh: &Shell, target: &str) -> anyhow::Result<PathBuf> {
    Ok(cmd!(sh, "rustc --print target-libdir --target {target}").quiet().read()?.into())
}

/// Copies the libraries below `std`.
fn copy_libraries(sh: &Shell, from: &Path, to: &Path) -> anyhow::Result<()> {
    sh.remove_path(to)?;
    sh.create_dir(to)?;
    for library in sh.read_dir(from)? {
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        if ["libcore-", "liballoc-", "libcompiler_builtins-"].iter().any(|it| name.starts_with(it))
        {
            sh.copy_file(&library, to)?;
        }
    }
    Ok(())
}

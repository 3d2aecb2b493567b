//! Proof that `throttle-core` and all it depends on do without the standard library.
//!
//! The attribute `#![no_std]` proves little: a dependency may still bring the library in. So the
//! crate is built where there is none. That is a microcontroller, if its target is installed;
//! otherwise this machine's own target in a toolchain directory that holds `core` and `alloc` only.

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
    // With `--target`, flags do not reach build scripts and macros, which may use `std`.
    cmd!(sh, "cargo check --package throttle-core --lib --target {host}")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--sysroot\u{1f}{}", sysroot.display()))
        .run()?;
    Ok(())
}

/// Where the toolchain keeps the compiled libraries of a target, or would.
fn library_dir(sh: &Shell, target: &str) -> anyhow::Result<PathBuf> {
    Ok(cmd!(sh, "rustc --print target-libdir --target {target}").quiet().read()?.into())
}

/// Copies what is below `std`.
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

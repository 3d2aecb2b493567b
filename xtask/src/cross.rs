//! Checks that everything compiles without warnings for macOS and Windows.
//!
//! Nothing is linked or run, so Rust alone is enough, except for the C code in TLS: without a C compiler for the
//! target, crates with TLS are left out.

use xshell::{Shell, cmd};

/// Each target, and the C compiler for it.
const TARGETS: [(&str, &str); 2] = [
    ("x86_64-apple-darwin", "x86_64-apple-darwin-clang"),
    ("x86_64-pc-windows-gnu", "x86_64-w64-mingw32-gcc"),
];

/// All packages except the one that is built against the Python of this machine.
const ALL: [&str; 4] = ["--workspace", "--exclude", "throttle-python", "--all-targets"];

/// All of these without TLS.
const WITHOUT_C: [&str; 7] =
    ["--workspace", "--exclude", "throttle-python", "--exclude", "throttle-cli", "--lib", "--bins"];

pub(crate) fn run(sh: &Shell) -> anyhow::Result<()> {
    for (target, compiler) in TARGETS {
        if !is_installed(sh, target) {
            eprintln!("not checked: {target}, which `rustup target add` cannot bring");
            continue;
        }
        let has_compiler = cmd!(sh, "{compiler} --version").quiet().ignore_stdout().run().is_ok();
        let what: &[&str] = if has_compiler { &ALL } else { &WITHOUT_C };
        if !has_compiler {
            eprintln!("not checked for {target}, without {compiler}: throttle-cli, and the tests");
        }
        cmd!(sh, "cargo clippy --target {target} {what...} -- -D warnings").run()?;
    }
    Ok(())
}

fn is_installed(sh: &Shell, target: &str) -> bool {
    let add = cmd!(sh, "rustup target add {target}").quiet().ignore_stderr();
    add.run().is_ok()
}

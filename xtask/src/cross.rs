//! Whether everything compiles, without warnings, for systems that this one is not.
//!
//! Nothing is linked and nothing runs, so what is there of Rust is enough, but for the C in TLS: crates
//! that have it are left out where there is no compiler for the target.

use xshell::{Shell, cmd};

/// Rust's name of each target, and the C compiler that one needs for it.
const TARGETS: [(&str, &str); 2] = [
    ("x86_64-apple-darwin", "x86_64-apple-darwin-clang"),
    ("x86_64-pc-windows-gnu", "x86_64-w64-mingw32-gcc"),
];

/// All but what is built against the Python of the machine.
const ALL: [&str; 4] = ["--workspace", "--exclude", "throttle-python", "--all-targets"];

/// All of it that has no TLS.
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

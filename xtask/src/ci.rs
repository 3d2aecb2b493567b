//! `ci`: all checks that must pass before a commit enters the main branch.

use std::time::Instant;

use anyhow::Context as _;
use xshell::Shell;

use crate::{
    bench, compat, crash, cross, deny, execute, faults, instructions, lint, manifests, no_std,
    package, python, tidy, unused, workspace::Workspace,
};

type Check = fn(&Shell, &Workspace) -> anyhow::Result<()>;

/// All checks except the tests; those that are cheap or likely to fail come first.
const CHECKS: &[(&str, Check)] = &[
    ("fmt", |sh, _| lint::fmt(sh)),
    ("tidy", tidy::run),
    ("clippy", |sh, _| lint::clippy(sh)),
    ("doc", |sh, _| lint::doc(sh)),
    ("deny", |sh, workspace| deny::run(sh, workspace, false)),
    ("unused", unused::run),
    ("no-std", no_std::run),
    ("cross", |sh, _| cross::run(sh)),
    ("manifests", manifests::run),
    ("examples", execute::examples),
    ("package", package::run),
    ("compat", |sh, _| compat::run(sh)),
    ("python", python::run),
    ("faults --quick", faults::quick),
    ("crash --rounds 30", crash::quick),
    ("bench --quick", bench::quick),
    // It only reports figures; none of them is an error.
    ("instructions --quick", |sh, workspace| instructions::run(sh, workspace, true, None)),
];

/// Runs the checks up to the first that fails, then the tests, so that their summary comes last.
#[expect(clippy::disallowed_methods, reason = "it only measures how long a step takes")]
pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let mut durations = Vec::new();
    for (name, check) in CHECKS {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        check(sh, workspace).with_context(|| format!("`cargo xtask {name}` failed"))?;
        durations.push((name, start.elapsed()));
    }
    eprintln!();
    for (name, duration) in durations {
        eprintln!("=== {name}: ok in {:.1} s", duration.as_secs_f64());
    }
    eprintln!("\n=== test");
    execute::test(sh, workspace).context("`cargo xtask test` failed")
}

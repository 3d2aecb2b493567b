//! Runs the tests and the examples.

use xshell::{Shell, cmd};

use crate::workspace::Workspace;

/// Runs all tests: benchmarks in their short form, examples in documentation, and all others.
pub(crate) fn test(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    for (package, bench) in workspace.targets("bench") {
        let (package, bench) = (&package.name, &bench.name);
        cmd!(sh, "cargo test --package {package} --bench {bench}").run()?;
    }
    let nextest = cmd!(sh, "cargo nextest --version").quiet().ignore_stderr().read().is_ok();
    if nextest {
        cmd!(sh, "cargo test --workspace --doc").run()?;
        cmd!(sh, "cargo nextest run --workspace").run()?;
    } else {
        cmd!(sh, "cargo test --workspace").run()?;
    }
    Ok(())
}

/// Runs each example as its header says. An example that fails exits with an error.
pub(crate) fn examples(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    for (package, example) in workspace.targets("example") {
        let (package, example) = (&package.name, &example.name);
        cmd!(sh, "cargo run --quiet --package {package} --example {example}").run()?;
    }
    Ok(())
}

//! Everything that continuous integration does, by name: `cargo xtask <verb>`.
//!
//! Continuous integration runs `cargo xtask ci`, which runs the other verbs one after the other, so that a check
//! that fails there fails here under the same name. The verbs read the repository with `cargo metadata` and
//! `git`, and never link our crates: this program must build in seconds, even when nothing else builds.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a command line tool prints")]

mod bench;
mod ci;
mod codegen;
mod compat;
mod crash;
mod cross;
mod deny;
mod dist;
mod execute;
mod faults;
mod flags;
mod instructions;
mod lint;
mod manifests;
mod no_std;
mod package;
mod python;
mod tidy;
mod tool;
mod unused;
mod venv;
mod workspace;

use std::process::ExitCode;

use xshell::Shell;

use crate::{
    flags::{Xtask, XtaskCmd},
    workspace::Workspace,
};

fn main() -> ExitCode {
    match run(Xtask::from_env_or_exit().subcommand) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: XtaskCmd) -> anyhow::Result<()> {
    let sh = Shell::new()?;
    let workspace = Workspace::load(&sh)?;
    sh.change_dir(&workspace.root);
    match verb {
        XtaskCmd::Bench(flags) => bench::run(&sh, &workspace, &flags),
        XtaskCmd::Ci(_) => ci::run(&sh, &workspace),
        XtaskCmd::Clippy(_) => lint::clippy(&sh),
        XtaskCmd::Codegen(_) => codegen::run(&sh),
        XtaskCmd::Compat(_) => compat::run(&sh),
        XtaskCmd::Crash(flags) => crash::run(&sh, &workspace, &flags),
        XtaskCmd::Cross(_) => cross::run(&sh),
        XtaskCmd::Deny(deny) => deny::run(&sh, &workspace, deny.advisories),
        XtaskCmd::Dist(_) => dist::run(&sh, &workspace),
        XtaskCmd::Doc(_) => lint::doc(&sh),
        XtaskCmd::Examples(_) => execute::examples(&sh, &workspace),
        XtaskCmd::Faults(flags) => faults::run(&sh, &workspace, &flags),
        XtaskCmd::Fmt(_) => lint::fmt(&sh),
        XtaskCmd::Instructions(flags::Instructions { against, quick }) => {
            instructions::run(&sh, &workspace, quick, against.as_deref())
        }
        XtaskCmd::Manifests(_) => manifests::run(&sh, &workspace),
        XtaskCmd::NoStd(_) => no_std::run(&sh, &workspace),
        XtaskCmd::Package(_) => package::run(&sh, &workspace),
        XtaskCmd::Python(_) => python::run(&sh, &workspace),
        XtaskCmd::Test(_) => execute::test(&sh, &workspace),
        XtaskCmd::Tidy(_) => tidy::run(&sh, &workspace),
        XtaskCmd::Unused(_) => unused::run(&sh, &workspace),
    }
}

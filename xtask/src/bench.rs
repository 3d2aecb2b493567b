//! Measures our server, the one before it and a bare HTTP server side by side on this machine.
//!
//! The package `throttle-bench` measures. This verb builds it and the servers in release mode, and installs the
//! old server from crates.io. The study of the store compares with etcd and PostgreSQL where they are installed.

use std::{
    env::consts::EXE_SUFFIX,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::{flags::Bench, workspace::Workspace};

/// Builds everything, measures, and prints tables.
pub(crate) fn run(sh: &Shell, workspace: &Workspace, flags: &Bench) -> anyhow::Result<()> {
    cmd!(sh, "cargo build --release --package throttle-server --bin throttle").run()?;
    cmd!(sh, "cargo build --release --package throttle-bench").run()?;
    let release = workspace.target_dir.join("release");
    let program = |name: &str| release.join(format!("{name}{EXE_SUFFIX}"));
    let mut servers = vec![("--ours", program("throttle")), ("--floor", program("throttle-floor"))];
    if !flags.no_old {
        match old_server(sh, &workspace.target_dir.join("peers")) {
            Ok(program) => servers.push(("--old", program)),
            Err(error) if flags.quick => eprintln!("warning: without the old server: {error:#}"),
            Err(error) => return Err(error),
        }
    }
    if flags.install {
        let packages = ["etcd-server", "postgresql"];
        cmd!(sh, "apt-get install --yes --no-install-recommends {packages...}").run()?;
    }
    if !flags.quick && measures_store(flags) {
        let found = [
            ("--etcd", "etcd-server", in_path("etcd")),
            ("--postgres", "postgresql", postgres_programs()),
        ];
        for (flag, package, path) in found {
            match path {
                Some(path) => servers.push((flag, path)),
                None => eprintln!("warning: without {package}, which is not here; see --install"),
            }
        }
    }
    let out = flags.out.clone().unwrap_or_else(|| workspace.target_dir.join("bench"));
    let (bench, options) = (program("throttle-bench"), options(flags));
    let servers = servers.iter().flat_map(|(flag, path)| [Path::new(flag), path]);
    // Not a directory of temporary files, which may be in memory.
    let data = workspace.target_dir.join("bench-data");
    Ok(cmd!(sh, "{bench} {servers...} {options...} --data {data} --out {out}").run()?)
}

/// The short form for continuous integration: whether the measurement works, and rough figures.
///
/// No figure is an error, because the machine may be busy. A lock that is granted twice or out of order is one.
pub(crate) fn quick(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    run(sh, workspace, &quick_flags())
}

fn quick_flags() -> Bench {
    Bench {
        quick: true,
        rounds: None,
        seconds: None,
        study: Vec::new(),
        scenario: Vec::new(),
        concerned: None,
        empty: false,
        no_old: false,
        install: false,
        no_pin: false,
        out: None,
    }
}

/// The program of the old server, which is installed first if it is missing.
fn old_server(sh: &Shell, root: &Path) -> anyhow::Result<PathBuf> {
    let program = root.join("bin").join(format!("throttle{EXE_SUFFIX}"));
    if !sh.path_exists(&program) {
        let target = root.join("build");
        let package = "throttle-server@=0.5.13";
        cmd!(sh, "cargo install --quiet --locked --root {root} --target-dir {target} {package}")
            .run()
            .context("installing the old server takes the network; see --no-old")?;
    }
    Ok(program)
}

fn measures_store(flags: &Bench) -> bool {
    flags.study.is_empty() || flags.study.iter().any(|study| study == "store")
}

/// The program with this name in the path of programs.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|directory| directory.join(name));
    programs.find(|program| program.is_file())
}

/// The directory with PostgreSQL's programs. Debian keeps the server's outside of the path, by version.
fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let debian = versions.flatten().map(|version| version.path().join("bin"));
    let others = in_path("postgres").and_then(|program| Some(program.parent()?.to_path_buf()));
    let all = ["postgres", "initdb", "pgbench", "psql"];
    let complete = |directory: &PathBuf| all.iter().all(|name| directory.join(name).is_file());
    debian.chain(others).find(complete)
}

/// The flags that are passed on unchanged.
fn options(flags: &Bench) -> Vec<String> {
    let Bench { quick, rounds, seconds, study, scenario, concerned, empty, no_pin, .. } = flags;
    let switches = [("--quick", *quick), ("--empty", *empty), ("--no-pin", *no_pin)];
    let switches =
        switches.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name.to_owned());
    let rounds = rounds.map(|rounds| ("--rounds", rounds.to_string()));
    let seconds = seconds.map(|seconds| ("--seconds", seconds.to_string()));
    let concerned = concerned.map(|peers| ("--concerned", peers.to_string()));
    let values = rounds
        .into_iter()
        .chain(seconds)
        .chain(concerned)
        .chain(study.iter().map(|name| ("--study", name.clone())))
        .chain(scenario.iter().map(|name| ("--scenario", name.clone())));
    switches.chain(values.flat_map(|(name, value)| [name.to_owned(), value])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_passed_on() {
        let flags = Bench {
            rounds: Some(7),
            scenario: vec!["lock".to_owned(), "cycle".to_owned()],
            ..quick_flags()
        };
        let expected = "--quick --rounds 7 --scenario lock --scenario cycle";
        assert_eq!(options(&flags).join(" "), expected);
    }
}

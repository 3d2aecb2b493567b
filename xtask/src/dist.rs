//! `dist`: archives of the programs, wheels and checksums, in one directory.

use std::{
    env::consts::EXE_SUFFIX,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::{
    venv::{QUIET, environment},
    workspace::Workspace,
};

/// For each program its package, its name, and the other files of its archive.
const PROGRAMS: [(&str, &str, &[&str]); 2] = [
    (
        "throttle-server",
        "throttle",
        &[
            "configs/throttle.toml",
            "configs/durable.toml",
            "configs/production.toml",
            "configs/systemd/throttle.service",
        ],
    ),
    ("throttle-cli", "throttlectl", &["docs/throttlectl.md"]),
];

/// The packages that are built as wheels.
const WHEELS: [&str; 2] = ["crates/throttle-python", "crates/throttle-server"];

/// The target that links statically, so that one archive runs on every Linux.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// Builds everything into `target/dist`, and prints a list.
pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let dist = workspace.target_dir.join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    sh.create_dir(&dist)?;
    let target = platform(sh)?;
    let (flags, built): (&[&str], _) = match &*target {
        STATIC => (&["--target", STATIC], workspace.target_dir.join(STATIC).join("release")),
        _ => (&[], workspace.target_dir.join("release")),
    };
    for (package, program, companions) in PROGRAMS {
        let features: &[&str] = match package {
            "throttle-server" => &["--features", "jemalloc"],
            _ => &[],
        };
        cmd!(sh, "cargo build --release --locked {flags...} --package {package} {features...}")
            .run()?;
        archive(sh, &dist, &built, &format!("{program}-{target}"), program, companions)?;
    }
    let python = environment(sh, &workspace.target_dir.join("dist-venv"))?;
    for package in WHEELS {
        let wheel = ["-m", "pip", "wheel", "--no-deps", "--wheel-dir"];
        // The feature of the server's allocator. The other package does not have it.
        let arguments = if package.ends_with("server") { "--features jemalloc" } else { "" };
        cmd!(sh, "{python} {wheel...} {dist} {QUIET...} ./{package}")
            .env("MATURIN_PEP517_ARGS", arguments)
            .run()?;
    }
    checksums(sh, &dist)?;
    report(&dist, &target)
}

/// The static target if its standard library and its C compiler, for TLS, are installed; otherwise the target of
/// this machine.
fn platform(sh: &Shell) -> anyhow::Result<String> {
    let installed = cmd!(sh, "rustup target list --installed").quiet().ignore_stderr().read();
    let has_library = installed.is_ok_and(|targets| targets.lines().any(|target| target == STATIC));
    let compiler = cmd!(sh, "musl-gcc --version").quiet().ignore_stdout().ignore_stderr();
    if has_library && compiler.run().is_ok() {
        return Ok(STATIC.to_owned());
    }
    eprintln!("not static: that takes `rustup target add {STATIC}` and musl-gcc");
    let version = cmd!(sh, "rustc --version --verbose").quiet().read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not print its host")?.to_owned())
}

fn archive(
    sh: &Shell,
    dist: &Path,
    built: &Path,
    name: &str,
    program: &str,
    companions: &[&str],
) -> anyhow::Result<()> {
    let staging = sh.create_temp_dir()?;
    let inside = staging.path().join(name);
    sh.create_dir(&inside)?;
    let binary = built.join(format!("{program}{EXE_SUFFIX}"));
    sh.copy_file(&binary, &inside)?;
    for file in ["LICENSE", "README.md", "CHANGELOG.md"].iter().chain(companions) {
        sh.copy_file(file, &inside)?;
    }
    if program == "throttlectl" {
        generated(sh, &binary, &inside)?;
    }
    let (file, staging) = (dist.join(format!("{name}.tar.gz")), staging.path());
    Ok(cmd!(sh, "tar -czf {file} -C {staging} {name}").run()?)
}

/// The manual page and the completions, which the program generates.
fn generated(sh: &Shell, program: &Path, directory: &Path) -> anyhow::Result<()> {
    sh.write_file(directory.join("throttlectl.1"), cmd!(sh, "{program} man").quiet().read()?)?;
    for shell in ["bash", "fish", "zsh"] {
        let text = cmd!(sh, "{program} completions {shell}").quiet().read()?;
        sh.write_file(directory.join(format!("throttlectl.{shell}")), text)?;
    }
    Ok(())
}

/// Writes `SHA256SUMS`, for `sha256sum --check`.
fn checksums(sh: &Shell, dist: &Path) -> anyhow::Result<()> {
    let _here = sh.push_dir(dist);
    let files = files(dist)?;
    let names = &files.iter().filter_map(|file| file.file_name()).collect::<Vec<_>>();
    let sums = match cmd!(sh, "sha256sum {names...}").quiet().ignore_stderr().read() {
        Ok(sums) => sums,
        // The same tool on macOS.
        Err(_) => cmd!(sh, "shasum -a 256 {names...}").quiet().read()?,
    };
    Ok(sh.write_file("SHA256SUMS", sums + "\n")?)
}

fn report(dist: &Path, target: &str) -> anyhow::Result<()> {
    println!("\nfor {target}{}:", if target == STATIC { ", statically linked" } else { "" });
    for file in files(dist)? {
        let kilobytes = fs::metadata(&file)?.len().div_ceil(1000);
        println!("{kilobytes:>8} kB  {}", file.display());
    }
    Ok(())
}

fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

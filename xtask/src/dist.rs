//! Everything that is shipped, in one directory: archives of the programs, wheels, checksums.

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

/// The programs: the package that has each, and what goes with it into its archive.
const PROGRAMS: [(&str, &str, &[&str]); 2] = [
    (
        "throttle-server",
        "throttle",
        &["configs/throttle.toml", "configs/production.toml", "configs/systemd/throttle.service"],
    ),
    ("throttle-cli", "throttlectl", &["docs/throttlectl.md"]),
];

/// What is made into wheels.
const WHEELS: [&str; 2] = ["crates/throttle-python", "crates/throttle-server"];

/// Where Rust links statically, so that one archive does for every Linux.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// Builds it all into `target/dist`, and prints what it is.
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
        // The server's allocator; a wheel without such a feature is not told of it.
        let arguments = if package.ends_with("server") { "--features jemalloc" } else { "" };
        cmd!(sh, "{python} {wheel...} {dist} {QUIET...} ./{package}")
            .env("MATURIN_PEP517_ARGS", arguments)
            .run()?;
    }
    checksums(sh, &dist)?;
    report(&dist, &target)
}

/// The static one if its standard library and a compiler for the C in TLS are installed, else that of
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
    Ok(host.context("rustc does not say what it runs on")?.to_owned())
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

/// The manual page and completions, as the program writes them itself.
fn generated(sh: &Shell, program: &Path, directory: &Path) -> anyhow::Result<()> {
    sh.write_file(directory.join("throttlectl.1"), cmd!(sh, "{program} man").quiet().read()?)?;
    for shell in ["bash", "fish", "zsh"] {
        let text = cmd!(sh, "{program} completions {shell}").quiet().read()?;
        sh.write_file(directory.join(format!("throttlectl.{shell}")), text)?;
    }
    Ok(())
}

/// `SHA256SUMS`, which `sha256sum --check` understands.
fn checksums(sh: &Shell, dist: &Path) -> anyhow::Result<()> {
    let _here = sh.push_dir(dist);
    let files = files(dist)?;
    let names = &files.iter().filter_map(|file| file.file_name()).collect::<Vec<_>>();
    let sums = match cmd!(sh, "sha256sum {names...}").quiet().ignore_stderr().read() {
        Ok(sums) => sums,
        // As macOS has it.
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

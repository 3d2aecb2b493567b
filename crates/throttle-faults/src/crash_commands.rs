//! The commands that kill the server under load, and those that prove that the check can fail.

use std::{
    env::consts::EXE_SUFFIX,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use throttle_faults::{
    claims::Rule,
    client_kind::Programs,
    crash::{self, CrashPlan, Outcome, ServerProgram, StoreFault},
};

use super::ProgramArguments;

#[derive(Debug, Parser)]
pub(crate) struct CrashArguments {
    #[command(flatten)]
    programs: ProgramArguments,
    /// How often the server is killed.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// The seed of the load and of the moments of the kills.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program `throttle`. By default the one beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Run this program as the server, with this fault of its store, instead of the program `throttle`.
    #[arg(long, conflicts_with = "server")]
    fault: Option<StoreFault>,
}

#[derive(Debug, Parser)]
pub(crate) struct ControlArguments {
    /// The seed of the load and of the moments of the kills.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this control: `no-store` or the name of a fault.
    #[arg(long)]
    only: Option<String>,
}

#[derive(Debug, Parser)]
pub(crate) struct ServeArguments {
    #[arg(long)]
    port: u16,
    /// The file of the store.
    #[arg(long)]
    store: PathBuf,
    #[arg(long)]
    fault: StoreFault,
}

/// Runs the plan against the real server.
pub(crate) async fn crash(arguments: CrashArguments) -> anyhow::Result<ExitCode> {
    let CrashArguments { programs, rounds, seed, server, fault } = arguments;
    let (programs, kinds) = programs.resolve()?;
    let has_clients = !kinds.is_empty();
    let directory = new_directory("run")?;
    let server = match fault {
        Some(fault) => ServerProgram::Faulty { path: programs.faults.clone(), fault },
        None => {
            let path = server.unwrap_or_else(|| beside(&programs.faults, "throttle"));
            ServerProgram::Real { path, has_store: true }
        }
    };
    let plan = CrashPlan {
        server,
        programs,
        kinds,
        rounds,
        seed,
        directory: directory.clone(),
        until: None,
    };
    let at = format!("with seed {seed}, see {}", directory.display());
    let outcome = crash::run(&plan).await.context(at.clone())?;
    let Outcome { violations, coverage, took } = outcome;
    if let Some(first) = violations.first() {
        anyhow::bail!("{at}: {first}");
    }
    coverage.suffices(has_clients)?;
    println!("{coverage}");
    println!("no violation in {:.0} s", took.as_secs_f64());
    std::fs::remove_dir_all(&directory)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs all controls. Each must be found within some kills.
pub(crate) async fn controls(arguments: ControlArguments) -> anyhow::Result<ExitCode> {
    let ControlArguments { seed, only } = arguments;
    let faults = std::env::current_exe().context("this program does not know where it is")?;
    for (fault, rule) in CONTROLS {
        let name = fault.map_or_else(|| "no-store".to_owned(), |fault| fault.to_string());
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let server = match *fault {
            Some(fault) => ServerProgram::Faulty { path: faults.clone(), fault },
            None => ServerProgram::Real { path: beside(&faults, "throttle"), has_store: false },
        };
        let programs = Arc::new(Programs::beside(faults.clone(), PathBuf::new()));
        let directory = new_directory(&name)?;
        let plan = CrashPlan {
            server,
            programs,
            kinds: Vec::new(),
            rounds: MOST_KILLS,
            seed,
            directory: directory.clone(),
            until: Some(*rule),
        };
        let Outcome { violations, coverage, took } =
            crash::run(&plan).await.with_context(|| format!("{name}, {}", directory.display()))?;
        let found = violations.iter().find(|violation| violation.rule == *rule);
        ensure!(
            found.is_some(),
            "{name}: no violation of {rule} within {} kills, but {violations:?}",
            coverage.kills
        );
        let (kills, seconds) = (coverage.kills, took.as_secs_f64());
        println!("{name:27}violates {rule:10}: found after {kills} kills, {seconds:.1} s");
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Serves until the process is killed.
pub(crate) async fn serve(arguments: ServeArguments) -> anyhow::Result<ExitCode> {
    let ServeArguments { port, store, fault } = arguments;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    crash::serve(address, &store, fault).await?;
    Ok(ExitCode::SUCCESS)
}

fn beside(program: &Path, name: &str) -> PathBuf {
    program.with_file_name(format!("{name}{EXE_SUFFIX}"))
}

/// A directory that did not exist before.
fn new_directory(name: &str) -> anyhow::Result<PathBuf> {
    let parent = std::env::temp_dir();
    for number in 0_u32.. {
        let path = parent.join(format!("throttle-crash-{name}-{}-{number}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make {}", path.display()));
            }
        }
    }
    anyhow::bail!("no name is left below {}", parent.display())
}

/// The servers that must be found, each with the rule that it must be seen to break. The first has no store.
const CONTROLS: &[(Option<StoreFault>, Rule)] = &[
    (None, Rule::Exclusion),
    (None, Rule::Memory),
    (Some(StoreFault::AnswersBeforeDurability), Rule::Memory),
    (Some(StoreFault::DropsUnsynced), Rule::Memory),
    (Some(StoreFault::ForgetsSequences), Rule::Memory),
    (Some(StoreFault::ForgetsTokens), Rule::Tokens),
    (Some(StoreFault::KeepsCounts), Rule::Memory),
    (Some(StoreFault::KeepsRemovedPeers), Rule::Memory),
    (Some(StoreFault::LosesWaiters), Rule::Memory),
    (Some(StoreFault::ReversesQueues), Rule::Order),
    (Some(StoreFault::ShortensLeases), Rule::Memory),
];

/// A control is found much sooner.
const MOST_KILLS: usize = 100;

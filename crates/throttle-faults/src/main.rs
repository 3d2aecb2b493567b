//! Runs the table of faults, the history of exclusion and the crashes. The same program is the worker in Rust.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "workers and reports print to them")]

mod crash_commands;
mod rust_client_worker;
mod throttlectl_child;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use throttle_faults::{
    claims::Violation,
    client_kind::{ClientKind, Programs},
    history::{self, Plan, Summary},
    table::{self, Selection},
};

/// Puts every client of Throttle behind a proxy that injects faults.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kills the server again and again under load, and fails if it broke a promise.
    Crash(crash_commands::CrashArguments),
    /// Checks that servers that break a promise on purpose are found.
    CrashControls(crash_commands::ControlArguments),
    /// Lets all client kinds compete under random faults, and fails if there were more holders than allowed.
    History(HistoryArguments),
    /// Runs the table, and fails if the outcome for any client kind is not the expected one.
    Table(TableArguments),
    /// The worker in Rust, for the table and the history.
    Worker(rust_client_worker::Arguments),
    /// The command that `throttlectl lock` runs for them: prints the token, and ends after a line of input.
    Hold,
    /// A server with a store that breaks a promise on purpose.
    Serve(crash_commands::ServeArguments),
}

#[derive(Debug, Parser)]
struct TableArguments {
    #[command(flatten)]
    programs: ProgramArguments,
    /// Only rows whose title contains this.
    #[arg(long)]
    row: Option<String>,
    /// How many trials run at a time.
    #[arg(long, default_value_t = 36)]
    at_a_time: usize,
}

#[derive(Debug, Parser)]
struct HistoryArguments {
    #[command(flatten)]
    programs: ProgramArguments,
    /// The duration of the run.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The seed of the random faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Parser)]
struct ProgramArguments {
    /// A Python interpreter with the package. Without it the clients in Python are skipped.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Only these client kinds: rust, python-sync, python-async, throttlectl.
    #[arg(long = "client", value_parser = client_kind)]
    kinds: Vec<ClientKind>,
}

impl ProgramArguments {
    fn resolve(self) -> anyhow::Result<(Arc<Programs>, Vec<ClientKind>)> {
        let Self { python, kinds } = self;
        let has_python = python.is_some();
        let is_there = |kind: &ClientKind| {
            has_python || !matches!(kind, ClientKind::PythonAsync | ClientKind::PythonSync)
        };
        let kinds = if kinds.is_empty() { ClientKind::ALL.to_vec() } else { kinds };
        let kinds = kinds.into_iter().filter(is_there).collect();
        let faults = std::env::current_exe().context("this program does not know where it is")?;
        Ok((Arc::new(Programs::beside(faults, python.unwrap_or_default())), kinds))
    }
}

fn client_kind(name: &str) -> Result<ClientKind, String> {
    let known = |kind: &ClientKind| kind.to_string().to_lowercase().replace(' ', "-") == name;
    ClientKind::ALL.into_iter().find(known).ok_or_else(|| format!("no client is called {name:?}"))
}

#[tokio::main]
async fn main() -> ExitCode {
    run(Arguments::parse()).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Crash(arguments) => crash_commands::crash(arguments).await,
        Command::CrashControls(arguments) => crash_commands::controls(arguments).await,
        Command::History(arguments) => history(arguments).await,
        Command::Table(arguments) => table(arguments).await,
        Command::Worker(arguments) => rust_client_worker::run(&arguments).await,
        Command::Hold => throttlectl_child::run().await,
        Command::Serve(arguments) => crash_commands::serve(arguments).await,
    }
}

async fn history(arguments: HistoryArguments) -> anyhow::Result<ExitCode> {
    let HistoryArguments { programs, seconds, seed } = arguments;
    let (programs, kinds) = programs.resolve()?;
    let plan = Plan { kinds, span: Duration::from_secs(seconds), seed, grants_twice: false };
    let (summary, faults) =
        history::run(&programs, &plan).await.with_context(|| format!("with seed {seed}"))?;
    for ((kind, semaphore), entries) in &summary.entries {
        println!("{kind:13}{semaphore:7}{entries:6} entries");
    }
    let Summary { contended, given_up, handovers, .. } = summary;
    println!(
        "{contended} contended, {handovers} handovers between kinds, {given_up} given up, {faults} faults"
    );
    // Proves that the check can fail.
    let control = Plan { span: Duration::from_secs(3), grants_twice: true, ..plan };
    let Err(error) = history::run(&programs, &control).await else {
        anyhow::bail!("a server that grants twice is not found out")
    };
    let violation = error.downcast_ref::<Violation>();
    let violation = violation.with_context(|| format!("a server that grants twice: {error:#}"))?;
    println!("a server that grants twice is found out: {violation}");
    Ok(ExitCode::SUCCESS)
}

async fn table(arguments: TableArguments) -> anyhow::Result<ExitCode> {
    let TableArguments { programs, row, at_a_time } = arguments;
    let (programs, kinds) = programs.resolve()?;
    let report = table::run(&programs, &Selection { row, kinds, at_a_time }).await?;
    println!("{report}");
    for doubt in report.passed_on_retry() {
        println!("{doubt}");
    }
    let failures = report.failures();
    for mismatch in &failures {
        eprintln!("{mismatch}");
    }
    Ok(ExitCode::from(u8::from(!failures.is_empty())))
}

//! Measures servers side by side: ours, the old one, and a floor that does nothing.
//!
//! `cargo xtask bench` builds all of them and runs this program. In each round it loads one server after the
//! other from a single thread ([`engine`]). It prints medians, ratios, and which of our targets hold, but a
//! missed target is no failure, because machines differ and are noisy.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command line tool talks through them"
)]

mod baseline;
mod clock;
mod engine;
mod figures;
mod http;
mod load;
mod pin;
mod plan;
mod process;
mod report;
mod scale;
mod server;
mod study;

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use clap::{Parser, ValueEnum};

use crate::{
    figures::Figures,
    load::Scenario,
    pin::Pins,
    plan::Plan,
    scale::Size,
    server::{Launcher, ServerKind},
};

/// Measures servers of semaphores side by side.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program of our server.
    #[arg(long)]
    ours: Option<PathBuf>,
    /// The program of the old server, version 0.5.13.
    #[arg(long)]
    old: Option<PathBuf>,
    /// The program of the server that does nothing.
    #[arg(long)]
    floor: Option<PathBuf>,
    /// The program of etcd, for the study of the store.
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// The directory with the programs of PostgreSQL, for the study of the store.
    #[arg(long)]
    postgres: Option<PathBuf>,
    /// Where servers keep their files: a directory on the disk that is to be measured. Default: that of temporary
    /// files.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Measure less of everything: whether it works, and roughly how fast.
    #[arg(long)]
    quick: bool,
    /// How often each measurement is repeated.
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each round of a load takes, in seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// What to measure; may be given several times. Default: everything.
    #[arg(long = "study", value_enum)]
    studies: Vec<Study>,
    /// Scenarios of the throughput study; may be given several times. Default: all.
    #[arg(long = "scenario", value_enum)]
    scenarios: Vec<Scenario>,
    /// How many peers or waiters the events of the pauses study concern; the semaphores are a tenth of it. Also how
    /// many peers a server with a store recovers.
    #[arg(long)]
    concerned: Option<usize>,
    /// Run the throughput study without populations.
    #[arg(long)]
    empty: bool,
    /// Let server and load share the processors.
    #[arg(long)]
    no_pin: bool,
    /// Where to write the figures as JSON, the tables, and the plots.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Study {
    Throughput,
    Contention,
    Queue,
    Pauses,
    Memory,
    StartUp,
    Store,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let plan = arguments.plan()?;
    let pins = if arguments.no_pin { Pins::none() } else { Pins::pin_load() };
    let launcher = Launcher {
        programs: arguments.programs(),
        etcd: arguments.etcd.clone(),
        postgres: arguments.postgres.clone(),
        pins,
        data: arguments.data.clone().unwrap_or_else(std::env::temp_dir),
    };
    ensure!(!launcher.programs.is_empty(), "name the program of a server at least");
    let mut figures = Figures::default();
    for study in Study::value_variants() {
        if arguments.studies.is_empty() || arguments.studies.contains(study) {
            study.run(&launcher, &plan, &mut figures)?;
        }
    }
    let report = report::Report::new(&launcher, &plan, figures);
    print!("{}", report.text());
    arguments.out.map_or(Ok(()), |out| report.write(&out))
}

impl Arguments {
    fn plan(&self) -> anyhow::Result<Plan> {
        let mut plan = if self.quick { Plan::quick() } else { Plan::full() };
        plan.rounds = self.rounds.unwrap_or(plan.rounds);
        ensure!(plan.rounds > 0, "there is at least one round");
        if let Some(seconds) = self.seconds {
            plan.time = Duration::try_from_secs_f64(seconds)?;
        }
        if !self.scenarios.is_empty() {
            plan.scenarios.clone_from(&self.scenarios);
        }
        if let Some(peers) = self.concerned {
            ensure!(peers > 0, "somebody is concerned");
            plan.sizes = vec![Size::of(peers)];
            plan.recovered = peers;
        }
        if self.empty {
            plan.populations.truncate(1);
        }
        Ok(plan)
    }

    fn programs(&self) -> Vec<(ServerKind, PathBuf)> {
        [
            (ServerKind::Floor, &self.floor),
            (ServerKind::Ours, &self.ours),
            (ServerKind::Old, &self.old),
        ]
        .into_iter()
        .filter_map(|(kind, program)| Some((kind, program.clone()?)))
        .collect()
    }
}

impl Study {
    fn run(self, launcher: &Launcher, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
        match self {
            Self::Throughput => study::throughput(launcher, plan, figures),
            Self::Contention => study::contention(launcher, plan, figures),
            Self::Queue => study::queue(launcher, plan, figures),
            Self::Pauses => study::pauses(launcher, plan, figures),
            Self::Memory => study::memory(launcher, plan, figures),
            Self::StartUp => study::start_up(launcher, plan, figures),
            Self::Store => study::store(launcher, plan, figures),
        }
    }
}

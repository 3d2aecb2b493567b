//! How many requests a second, at what price, and how fast each, among more and more others.

use std::time::Duration;

use anyhow::Context as _;

use super::Population;
use crate::{
    engine::Engine,
    figures::{Figures, Measure, Subject},
    load::{LONG, Lease, Steady, TAKEN, Work, populate},
    plan::Plan,
    server::{Kind, Server, Yard, cpu_time_of},
    wire::Request,
};

/// A server with those who are there, and those who will load it.
struct Arena {
    subject: Subject,
    server: Server,
    engine: Engine,
    /// One for each connection.
    peers: Vec<u64>,
    /// These, or the whole population if there is one.
    everybody: Vec<u64>,
}

/// Loads each server with each kind of work, among each population.
pub(crate) fn throughput(yard: &Yard, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    for &population in &plan.populations {
        eprintln!("throughput among {population}: preparing");
        let mut arenas = arenas(yard, population)?;
        for round in 1..=plan.rounds {
            eprintln!("throughput among {population}: round {round} of {}", plan.rounds);
            for &work in &plan.works {
                for arena in &mut arenas {
                    arena.measure(work, population, plan, figures)?;
                }
            }
        }
    }
    Ok(())
}

fn arenas(yard: &Yard, population: Population) -> anyhow::Result<Vec<Arena>> {
    let subjects = yard.kinds().map(|kind| (Subject::from(kind), kind, population));
    let empty = (Subject::OursEmpty, Kind::Ours, Population::Nobody);
    let empty = Some(empty).filter(|_| population != Population::Nobody);
    let empty = empty.filter(|_| yard.program(Kind::Ours).is_some());
    subjects
        .chain(empty)
        .filter(|(_, kind, population)| population.is_bearable_for(*kind))
        .map(|(subject, kind, population)| Arena::prepare(yard, subject, kind, population))
        .collect()
}

impl Arena {
    fn prepare(
        yard: &Yard,
        subject: Subject,
        kind: Kind,
        population: Population,
    ) -> anyhow::Result<Self> {
        let server = yard.start(kind, 0)?;
        take(&server)?;
        let mut engine = Engine::connect(server.address, CONNECTIONS)?;
        let mut everybody = match population {
            // The floor knows nobody.
            _ if kind == Kind::Floor => Vec::new(),
            Population::Nobody => Vec::new(),
            Population::Idle(peers) => populate(&mut engine, peers, Lease::Long, None)?,
            Population::Waiting(peers) => populate(&mut engine, peers, Lease::Long, Some(TAKEN))?,
        };
        let peers = populate(&mut engine, CONNECTIONS, Lease::Long, None)?;
        if everybody.is_empty() {
            everybody.clone_from(&peers);
        }
        engine.run(&mut Steady::new(Work::Lock, &peers, WARM_UP))?;
        Ok(Self { subject, server, engine, peers, everybody })
    }

    fn measure(
        &mut self,
        work: Work,
        population: Population,
        plan: &Plan,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        if work == Work::Queue && self.subject == Subject::Floor {
            return Ok(());
        }
        let (before, own_before) = (self.server.cpu_time(), cpu_time_of(std::process::id()));
        let peers = if work == Work::Roam { &self.everybody } else { &self.peers };
        let mut load = Steady::new(work, peers, plan.time);
        self.engine
            .run(&mut load)
            .with_context(|| format!("{} of {}", work.name(), self.subject.name()))?;
        let cpu = before.zip(self.server.cpu_time()).map(|(before, after)| after - before);
        let own = own_before.zip(cpu_time_of(std::process::id()));
        let own = own.map(|(before, after)| after - before);
        let case = (work.name(), &*population.to_string());
        let mut note = |measure, value| figures.note(case, self.subject, measure, value);
        note(Measure::RequestsPerSecond, load.rate());
        if let Some(cpu) = cpu {
            note(Measure::CpuMicros, cpu.as_secs_f64() * 1e6 / load.latencies.count() as f64);
        }
        if let Some(own) = own {
            note(Measure::LoadPercent, own.as_secs_f64() * 1e2 / load.time().as_secs_f64());
        }
        note(Measure::P50Micros, load.latencies.percentile(50.0));
        note(Measure::P99Micros, load.latencies.percentile(99.0));
        Ok(())
    }
}

/// Somebody takes the semaphore in front of which others will wait.
fn take(server: &Server) -> anyhow::Result<()> {
    let mut request = Request::default();
    request.new_peer(LONG);
    let holder = std::str::from_utf8(&server.ask(&request)?)?.parse()?;
    request.acquire(holder, TAKEN, "");
    server.ask(&request).map(drop)
}

const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_millis(200);

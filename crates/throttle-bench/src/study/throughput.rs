//! Requests a second, processor time and latency of each scenario, among growing populations.

use std::time::Duration;

use anyhow::Context as _;

use crate::{
    engine::Engine,
    figures::{Figures, Measure, Subject},
    load::{Lease, Scenario, ScenarioLoad, TAKEN, populate},
    plan::Plan,
    scale::Population,
    server::{Launcher, Server, ServerKind, cpu_time_of},
};

/// A server with its population, and the connections that load it.
struct Contestant {
    subject: Subject,
    server: Server,
    engine: Engine,
    /// One for each connection.
    peers: Vec<u64>,
    /// The population, or `peers` if there is none, in an order without neighbours that were created one
    /// after the other.
    everybody: Vec<u64>,
    /// How many heartbeats of `everybody` were sent in earlier rounds.
    next_to_roam: usize,
}

/// Measures each scenario at each server, among each population.
pub(crate) fn throughput(
    launcher: &Launcher,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for &population in &plan.populations {
        eprintln!("throughput among {population}: preparing");
        let mut contestants = contestants(launcher, population)?;
        for round in 1..=plan.rounds {
            eprintln!("throughput among {population}: round {round} of {}", plan.rounds);
            for &scenario in &plan.scenarios {
                for contestant in &mut contestants {
                    contestant.measure(scenario, population, plan, figures)?;
                }
            }
        }
    }
    Ok(())
}

fn contestants(launcher: &Launcher, population: Population) -> anyhow::Result<Vec<Contestant>> {
    let subjects = launcher.kinds().map(|kind| (Subject::from(kind), kind, population));
    let empty = (Subject::OursEmpty, ServerKind::Ours, Population::Nobody);
    let empty = Some(empty).filter(|_| population != Population::Nobody);
    let empty = empty.filter(|_| launcher.program(ServerKind::Ours).is_some());
    subjects
        .chain(empty)
        .filter(|(_, kind, population)| population.is_reachable_for(*kind))
        .map(|(subject, kind, population)| Contestant::prepare(launcher, subject, kind, population))
        .collect()
}

impl Contestant {
    fn prepare(
        launcher: &Launcher,
        subject: Subject,
        kind: ServerKind,
        population: Population,
    ) -> anyhow::Result<Self> {
        let server = launcher.start(kind, 0)?;
        server.hold_all(TAKEN)?;
        let mut engine = Engine::connect(server.address, CONNECTIONS)?;
        let mut everybody = match population {
            // The floor has no peers.
            _ if kind == ServerKind::Floor => Vec::new(),
            Population::Nobody => Vec::new(),
            Population::Idle(peers) => populate(&mut engine, peers, Lease::Long, None)?,
            Population::Waiting(peers) => populate(&mut engine, peers, Lease::Long, Some(TAKEN))?,
        };
        let peers = populate(&mut engine, CONNECTIONS, Lease::Long, None)?;
        if everybody.is_empty() {
            everybody.clone_from(&peers);
        }
        let everybody = scattered(&everybody);
        engine.run(&mut ScenarioLoad::new(Scenario::Lock, &peers, WARM_UP))?;
        Ok(Self { subject, server, engine, peers, everybody, next_to_roam: 0 })
    }

    fn measure(
        &mut self,
        scenario: Scenario,
        population: Population,
        plan: &Plan,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        if scenario == Scenario::Queue && self.subject == Subject::Floor {
            return Ok(());
        }
        let (before, own_before) = (self.server.cpu_time(), cpu_time_of(std::process::id()));
        let mut load = ScenarioLoad::new(scenario, &self.peers, plan.time)
            .roaming(&self.everybody, self.next_to_roam);
        self.engine
            .run(&mut load)
            .with_context(|| format!("{} of {}", scenario.name(), self.subject.name()))?;
        // The next round continues here. From the start again, it would use peers that are in the caches.
        self.next_to_roam = load.roamed;
        let cpu = before.zip(self.server.cpu_time()).map(|(before, after)| after - before);
        let own = own_before.zip(cpu_time_of(std::process::id()));
        let own = own.map(|(before, after)| after - before);
        let case = (scenario.name(), &*population.to_string());
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
        note(Measure::P999Micros, load.latencies.percentile(99.9));
        Ok(())
    }
}

/// Reorders peers so that neighbours were far from each other: each comes a prime number of places after the
/// one before.
fn scattered(peers: &[u64]) -> Vec<u64> {
    let stride = if peers.len().is_multiple_of(STRIDE) { 1 } else { STRIDE };
    (0..peers.len()).map(|index| peers[index * stride % peers.len()]).collect()
}

const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_millis(200);
/// A prime number.
const STRIDE: usize = 7_919;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattering_keeps_each_peer_once() {
        for number in [1, 2, 64, 1_000, STRIDE, 2 * STRIDE] {
            let peers: Vec<u64> = (1..=number as u64).collect();
            let mut scattered = scattered(&peers);
            scattered.sort_unstable();
            assert_eq!(scattered, peers);
        }
    }
}

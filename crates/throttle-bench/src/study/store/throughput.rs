//! Requests a second and latency, by the number of connections.

use std::time::Duration;

use anyhow::Context as _;

use super::{commit::Commits, disk::Disk};
use crate::{
    baseline::{Etcd, Postgres},
    engine::Engine,
    figures::{Figures, Measure, Subject},
    load::{Dialect, Latencies, Scenario, ScenarioLoad, peers_of_connections},
    plan::Plan,
    scale::Short,
    server::{Launcher, Server, ServerKind},
};

/// A server, and the connections that load it.
struct Contestant {
    subject: Subject,
    system: System,
}

enum System {
    Ours { server: Server, engine: Engine, peers: Vec<u64> },
    Etcd { engine: Engine, leases: Vec<u64>, _node: Etcd },
    Postgres(Postgres),
}

/// Measures each scenario at each server with few and many connections.
pub(super) fn throughput(
    launcher: &Launcher,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for &connections in &plan.connections {
        let among = match connections {
            1 => "1 connection".to_owned(),
            _ => format!("{} connections", Short(connections)),
        };
        eprintln!("store, {among}: preparing");
        let mut contestants = contestants(launcher, connections)?;
        let mut disk = Disk::new(launcher)?;
        let mut commits = Commits::new(launcher)?;
        for round in 1..=plan.rounds {
            eprintln!("store, {among}: round {round} of {}", plan.rounds);
            for scenario in SCENARIOS {
                let mut round = Round { scenario, connections, among: &among, plan, figures };
                for contestant in &mut contestants {
                    let name = contestant.subject.name();
                    let batches = round
                        .measure(contestant)
                        .with_context(|| format!("{} of {name}", scenario.name()))?;
                    if let Some(batches) = batches {
                        round.measure_disk(&mut disk, batches)?;
                        round.measure_engine(&mut commits)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn contestants(launcher: &Launcher, connections: usize) -> anyhow::Result<Vec<Contestant>> {
    let ours = |subject, server: Server| {
        let mut engine = Engine::connect(server.address, connections)?;
        let peers = peers_of_connections(&mut engine, Dialect::Throttle)?;
        engine.run(&mut ScenarioLoad::new(Scenario::Lock, &peers, WARM_UP))?;
        anyhow::Ok(Contestant { subject, system: System::Ours { server, engine, peers } })
    };
    let mut all = vec![
        ours(Subject::Ours, launcher.start(ServerKind::Ours, 0)?)?,
        ours(Subject::OursStored, launcher.start_with_store()?)?,
    ];
    let others: [(Subject, Start); 2] =
        [(Subject::Etcd, start_etcd), (Subject::Postgres, start_postgres)];
    for (subject, start) in others {
        match start(launcher, connections) {
            Ok(system) => all.extend(system.map(|system| Contestant { subject, system })),
            Err(error) => eprintln!("warning: without {}: {error:#}", subject.name()),
        }
    }
    Ok(all)
}

/// Starts a system if it is installed.
type Start = fn(&Launcher, usize) -> anyhow::Result<Option<System>>;

fn start_etcd(launcher: &Launcher, connections: usize) -> anyhow::Result<Option<System>> {
    let Some(program) = &launcher.etcd else { return Ok(None) };
    let node = Etcd::start(launcher, program)?;
    let mut engine = Engine::connect(node.address, connections)?;
    let leases = peers_of_connections(&mut engine, Dialect::Etcd)?;
    let warm_up = ScenarioLoad::new(Scenario::Lock, &leases, WARM_UP);
    engine.run(&mut warm_up.in_dialect(Dialect::Etcd))?;
    Ok(Some(System::Etcd { engine, leases, _node: node }))
}

fn start_postgres(launcher: &Launcher, connections: usize) -> anyhow::Result<Option<System>> {
    let Some(programs) = &launcher.postgres else { return Ok(None) };
    // A connection is a process. With a thousand of them, two processors did not answer two requests of each within
    // seconds; in practice a pooler stands before them.
    if connections > MOST_PROCESSES {
        return Ok(None);
    }
    Postgres::start(launcher, programs, connections).map(|server| Some(System::Postgres(server)))
}

/// One scenario in one round.
struct Round<'a> {
    scenario: Scenario,
    connections: usize,
    among: &'a str,
    plan: &'a Plan,
    figures: &'a mut Figures,
}

/// What our server wrote while it was measured.
struct Batches {
    number: f64,
    records: f64,
    requests: f64,
}

impl Round<'_> {
    /// Measures a server. Returns what it wrote if it is ours and has a store.
    fn measure(&mut self, contestant: &mut Contestant) -> anyhow::Result<Option<Batches>> {
        let (scenario, time) = (self.scenario, self.plan.time);
        let subject = contestant.subject;
        match &mut contestant.system {
            System::Ours { server, engine, peers } => {
                let stored = subject == Subject::OursStored;
                let before = if stored { written(server)? } else { (0.0, 0.0) };
                let mut load = ScenarioLoad::new(scenario, peers, time);
                engine.run(&mut load)?;
                self.note(subject, load.rate(), &load.latencies);
                if !stored {
                    return Ok(None);
                }
                let after = written(server)?;
                let (number, records) = (after.0 - before.0, after.1 - before.1);
                let requests = load.latencies.count() as f64;
                Ok(Some(Batches { number, records, requests }).filter(|it| it.number > 0.0))
            }
            System::Etcd { engine, leases, .. } => {
                let mut load = ScenarioLoad::new(scenario, leases, time).in_dialect(Dialect::Etcd);
                engine.run(&mut load)?;
                self.note(subject, load.rate(), &load.latencies);
                Ok(None)
            }
            System::Postgres(server) => {
                let measured = server.measure(scenario, self.connections, time)?;
                self.note(subject, measured.rate, &measured.latencies);
                Ok(None)
            }
        }
    }

    /// Lets the disk make batches of the same size durable, and notes how many requests that would be.
    fn measure_disk(&mut self, disk: &mut Disk, batches: Batches) -> anyhow::Result<()> {
        let Batches { number, records, requests } = batches;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean of counts is small and not negative"
        )]
        let synced = disk.measure((records / number).round() as usize, self.plan.time)?;
        let rate = synced.count() as f64 / self.plan.time.as_secs_f64();
        let case = (self.scenario.name(), self.among);
        self.figures.note(case, Subject::OursStored, Measure::RecordsPerBatch, records / number);
        self.note(Subject::Disk, rate * requests / number, &synced);
        Ok(())
    }

    /// Lets the engine of the store commit one change after the other, as a single connection would.
    fn measure_engine(&mut self, commits: &mut Commits) -> anyhow::Result<()> {
        if self.connections > 1 {
            return Ok(());
        }
        let committed = commits.measure(self.plan.time)?;
        let rate = committed.count() as f64 / self.plan.time.as_secs_f64();
        self.note(Subject::StoreEngine, rate, &committed);
        Ok(())
    }

    fn note(&mut self, subject: Subject, rate: f64, latencies: &Latencies) {
        let case = (self.scenario.name(), self.among);
        let mut note = |measure, value| self.figures.note(case, subject, measure, value);
        note(Measure::RequestsPerSecond, rate);
        note(Measure::P50Micros, latencies.percentile(50.0));
        note(Measure::P99Micros, latencies.percentile(99.0));
    }
}

/// How many batches the server has written, and with how many records in all.
fn written(server: &Server) -> anyhow::Result<(f64, f64)> {
    let batches = server.metric("throttle_store_batch_records_count")?;
    Ok((batches, server.metric("throttle_store_batch_records_sum")?))
}

const SCENARIOS: [Scenario; 3] = [Scenario::Lock, Scenario::Cycle, Scenario::Heartbeat];
const MOST_PROCESSES: usize = 100;
const WARM_UP: Duration = Duration::from_millis(200);

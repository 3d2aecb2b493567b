//! What a peer, a lock and a place in a queue weigh; and what a server keeps when all are gone.

use std::time::Duration;

use crate::{
    engine::{Engine, Load, Times},
    figures::{Figures, Measure, Subject},
    http::{Answer, Request},
    load::{AMPLE, BLOCKING, Lease, Scenario, ScenarioLoad, TAKEN, populate, remove_peers},
    plan::Plan,
    scale::Short,
    server::{Launcher, Server, ServerKind},
};

/// Fills each server with peers of one kind, once, and tells by how much it grew for each.
pub(crate) fn memory(
    launcher: &Launcher,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let kinds = [("idle peer", None), ("held lock", Some(AMPLE)), ("queued waiter", Some(TAKEN))];
    for (what, lock) in kinds {
        for kind in launcher.kinds().filter(|kind| *kind != ServerKind::Floor) {
            let peers = match (kind, lock) {
                (ServerKind::Floor | ServerKind::Ours, _) => plan.weighed,
                // It takes minutes for each further ten thousand.
                (ServerKind::Old, Some(TAKEN)) => plan.weighed.min(5_000),
                (ServerKind::Old, _) => plan.weighed.min(50_000),
            };
            eprintln!("memory of {}: {what}", kind.name());
            let server = launcher.start(kind, 0)?;
            let mut engine = Engine::connect(server.address, CONNECTIONS)?;
            // Threads, connections and tables of a first few are there already.
            populate(&mut engine, FIRST, Lease::Long, lock)?;
            let before = server.memory();
            populate(&mut engine, peers - FIRST, Lease::Long, lock)?;
            if let Some((after, before)) = server.memory().zip(before) {
                let each = after.saturating_sub(before) as f64 / (peers - FIRST) as f64;
                let among = Short(peers).to_string();
                figures.note((what, &among), Subject::from(kind), Measure::Bytes, each);
            }
        }
    }
    if launcher.program(ServerKind::Ours).is_some() {
        RetainedMemory { launcher, plan, figures }.all()?;
    }
    Ok(())
}

/// Notes how large our server is when those who were there are gone.
struct RetainedMemory<'a> {
    launcher: &'a Launcher,
    plan: &'a Plan,
    figures: &'a mut Figures,
}

impl RetainedMemory<'_> {
    fn all(&mut self) -> anyhow::Result<()> {
        let plan = self.plan;
        let server = self.launcher.start(ServerKind::Ours, 0)?;
        self.note("server at its start", "nobody", &server)?;
        self.peers("server, peers with a lock gone", plan.weighed, Lease::Long)?;
        self.peers("server, peers with labels gone", plan.weighed / 10, Lease::LongWithLabels)?;
        self.requests("server, blocked requests gone", plan.queue)
    }

    /// Peers come, lock something, and go.
    fn peers(&mut self, what: &str, peers: usize, lease: Lease) -> anyhow::Result<()> {
        let server = self.launcher.start(ServerKind::Ours, 0)?;
        let mut engine = Engine::connect(server.address, CONNECTIONS)?;
        let ids = populate(&mut engine, peers, lease, Some(AMPLE))?;
        remove_peers(&mut engine, ids)?;
        drop(engine);
        self.note(what, &Short(peers).to_string(), &server)
    }

    /// Peers wait with open requests, and their connections break.
    fn requests(&mut self, what: &str, number: usize) -> anyhow::Result<()> {
        let server = self.launcher.start(ServerKind::Ours, 0)?;
        server.hold_all(TAKEN)?;
        let mut engine = Engine::connect(server.address, number)?;
        let peers = populate(&mut engine, number, Lease::Long, None)?;
        engine.send_first(&mut Blocked(&peers))?;
        // Until all of them wait.
        settle(&server, ARRIVAL_TIME * u32::try_from(number)?)?;
        drop(engine);
        self.note(what, &Short(number).to_string(), &server)
    }

    fn note(&mut self, what: &str, among: &str, server: &Server) -> anyhow::Result<()> {
        settle(server, self.plan.settling)?;
        if let Some(bytes) = server.memory() {
            self.figures.note((what, among), Subject::Ours, Measure::Bytes, bytes as f64);
        }
        Ok(())
    }
}

/// Signs of life, for a while: until all that was sent is done, and an allocator has had the occasion
/// to return what is free.
fn settle(server: &Server, time: Duration) -> anyhow::Result<()> {
    let mut engine = Engine::connect(server.address, 1)?;
    let peers = populate(&mut engine, 1, Lease::Long, None)?;
    engine.run(&mut ScenarioLoad::new(Scenario::Heartbeat, &peers, time))?;
    remove_peers(&mut engine, peers)
}

/// Open requests for a semaphore that stays taken.
struct Blocked<'a>(&'a [u64]);

impl Load for Blocked<'_> {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        request.acquire(self.0[connection], TAKEN, BLOCKING);
        true
    }

    fn answer(&mut self, _: usize, _: Answer<'_>, _: Times) -> anyhow::Result<()> {
        anyhow::bail!("a lock that is held was granted")
    }
}

/// How long it takes for a request to have arrived, among many, with time to spare.
const ARRIVAL_TIME: Duration = Duration::from_micros(200);
const CONNECTIONS: usize = 32;
const FIRST: usize = 1_000;

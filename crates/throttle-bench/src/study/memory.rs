//! The memory of a peer, a lock and a waiter, and the memory that a server keeps when all peers are gone.

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

/// Fills each server with peers of one kind, once, and notes the growth for each peer.
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
                // The old server takes minutes for each further ten thousand peers.
                (ServerKind::Old, Some(TAKEN)) => plan.weighed.min(5_000),
                (ServerKind::Old, _) => plan.weighed.min(50_000),
            };
            eprintln!("memory of {}: {what}", kind.name());
            let server = launcher.start(kind, 0)?;
            let mut engine = Engine::connect(server.address, CONNECTIONS)?;
            // The first peers make the server allocate threads, connections and tables.
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

/// Notes the memory of our server after all peers or requests are gone.
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

    /// Creates peers with a lock and removes them.
    fn peers(&mut self, what: &str, peers: usize, lease: Lease) -> anyhow::Result<()> {
        let server = self.launcher.start(ServerKind::Ours, 0)?;
        let mut engine = Engine::connect(server.address, CONNECTIONS)?;
        let ids = populate(&mut engine, peers, lease, Some(AMPLE))?;
        remove_peers(&mut engine, ids)?;
        drop(engine);
        self.note(what, &Short(peers).to_string(), &server)
    }

    /// Lets peers wait with open requests, then closes their connections.
    fn requests(&mut self, what: &str, number: usize) -> anyhow::Result<()> {
        let server = self.launcher.start(ServerKind::Ours, 0)?;
        server.hold_all(TAKEN)?;
        let mut engine = Engine::connect(server.address, number)?;
        let peers = populate(&mut engine, number, Lease::Long, None)?;
        engine.send_first(&mut Blocked(&peers))?;
        // Until the server has received all requests.
        wait_for_stable_memory(&server, ARRIVAL_TIME * u32::try_from(number)?)?;
        drop(engine);
        self.note(what, &Short(number).to_string(), &server)
    }

    fn note(&mut self, what: &str, among: &str, server: &Server) -> anyhow::Result<()> {
        wait_for_stable_memory(server, self.plan.settling)?;
        if let Some(bytes) = server.memory() {
            self.figures.note((what, among), Subject::Ours, Measure::Bytes, bytes as f64);
        }
        Ok(())
    }
}

/// Sends heartbeats for `time`, so that the server completes all requests and the allocator can return free
/// memory.
fn wait_for_stable_memory(server: &Server, time: Duration) -> anyhow::Result<()> {
    let mut engine = Engine::connect(server.address, 1)?;
    let peers = populate(&mut engine, 1, Lease::Long, None)?;
    engine.run(&mut ScenarioLoad::new(Scenario::Heartbeat, &peers, time))?;
    remove_peers(&mut engine, peers)
}

/// Open requests for a semaphore that is held throughout.
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

/// How long the server takes to receive one of many requests, with a reserve.
const ARRIVAL_TIME: Duration = Duration::from_micros(200);
const CONNECTIONS: usize = 32;
const FIRST: usize = 1_000;

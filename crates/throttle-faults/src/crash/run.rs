//! Kills the server again and again, and checks the history.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};

use super::{
    checker::Checker,
    clients::RealClient,
    coverage::Coverage,
    crowd::{CROWD, Crowd},
    event::{Answer, Semaphore},
    random_walk::{OUTER, RandomWalk},
    raw_http::{decode_peer, delete, exchange, get, open},
    recorder::Recorder,
    server_process::{ServerProcess, ServerProgram},
};
use crate::{
    claims::{Rule, Violation},
    client_kind::{ClientKind, Programs},
    clock,
};

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct CrashPlan {
    /// Which server.
    pub server: ServerProgram,
    /// The paths of the clients.
    pub programs: Arc<Programs>,
    /// The client kinds that take part besides plain HTTP.
    pub kinds: Vec<ClientKind>,
    /// How often the server is killed.
    pub rounds: usize,
    /// The seed of everything that is random, except how the system schedules the processes.
    pub seed: u64,
    /// An existing directory for the store, the configuration and the log of the server.
    pub directory: PathBuf,
    /// End as soon as a violation of this rule is found. Other violations do not end the run then.
    pub until: Option<Rule>,
}

/// What a run has found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The violations, the first one first. Empty if the server keeps its promises.
    pub violations: Vec<Violation>,
    /// What was exercised.
    pub coverage: Coverage,
    /// How long the run took.
    pub took: Duration,
}

/// Kills the server as often as planned, and checks the history.
///
/// The last events are written to `history.log` in the directory if there is a violation.
///
/// # Errors
///
/// The server or a client failed in another way than by a violation.
///
/// # Panics
///
/// If a client of this process panics.
pub async fn run(plan: &CrashPlan) -> anyhow::Result<Outcome> {
    let server = ServerProcess::new(plan.server.clone(), &plan.directory, SEMAPHORES)?;
    let recorder = Arc::new(Recorder::new(Checker::new(SEMAPHORES), server.address()));
    let clients = start_clients(plan, &recorder);
    let mut crashes = Crashes {
        server,
        recorder: Arc::clone(&recorder),
        random: StdRng::seed_from_u64(plan.seed),
        clients,
    };
    let result = crashes.run(plan).await;
    let violations = recorder.checker(|checker| checker.check());
    if !violations.is_empty() || result.is_err() {
        std::fs::write(plan.directory.join("history.log"), recorder.recent())?;
    }
    if violations.is_empty() {
        result?;
    }
    let coverage = recorder.checker(|checker| checker.coverage());
    Ok(Outcome { violations, coverage, took: recorder.elapsed() })
}

fn start_clients(plan: &CrashPlan, recorder: &Arc<Recorder>) -> JoinSet<anyhow::Result<()>> {
    let mut clients = JoinSet::new();
    for number in 0..WALKS {
        let seed = plan.seed.wrapping_mul(1_000).wrapping_add(number);
        let walk = RandomWalk::new(Arc::clone(recorder), CONTENDED, seed);
        clients.spawn(walk.run());
    }
    let crowd_size = if plan.rounds < LONG_RUN { SMALL_CROWD } else { LARGE_CROWD };
    clients.spawn(Crowd::new(Arc::clone(recorder), crowd_size).run());
    for (number, kind) in plan.kinds.iter().enumerate() {
        for (place, semaphore) in [SEMAPHORES[0].name, SEMAPHORES[1].name].into_iter().enumerate() {
            let client = RealClient {
                programs: Arc::clone(&plan.programs),
                recorder: Arc::clone(recorder),
                kind: *kind,
                number: 2 * number + place,
                semaphore,
                seed: plan.seed.wrapping_add(number as u64),
            };
            clients.spawn(client.run());
        }
    }
    clients
}

/// The server and its clients during a run.
struct Crashes {
    server: ServerProcess,
    recorder: Arc<Recorder>,
    random: StdRng,
    clients: JoinSet<anyhow::Result<()>>,
}

impl Crashes {
    async fn run(&mut self, plan: &CrashPlan) -> anyhow::Result<()> {
        if plan.until.is_none() {
            self.first_starts(plan.rounds.div_ceil(ROUNDS_A_FIRST_START)).await?;
        }
        let mut kills = 0;
        while kills < plan.rounds {
            self.recorder.started();
            self.server.start()?;
            // Sometimes in quick succession, during the recovery.
            if self.random.random_bool(EARLY) {
                sleep(Duration::from_millis(self.random.random_range(0..RECOVERY_MS))).await;
                self.kill(false).await?;
                kills += 1;
                continue;
            }
            self.server.wait_until_ready().await?;
            self.recorder.change_server(|server| {
                server.process += 1;
                server.is_ready = true;
            });
            let span = Duration::from_millis(self.random.random_range(5..LONGEST_LIFE_MS));
            self.load(span).await?;
            self.kill(true).await?;
            kills += 1;
            if self.is_over(plan, kills) {
                return Ok(());
            }
        }
        self.end().await
    }

    /// Kills the server during its first start, without a file. The next start must become ready.
    async fn first_starts(&mut self, times: usize) -> anyhow::Result<()> {
        for _ in 0..times {
            self.server.remove_store()?;
            for attempt in 0..self.random.random_range(1..=2_u32) {
                self.server.start()?;
                let span = self.random.random_range(0..FIRST_START_MS);
                sleep(Duration::from_millis(span)).await;
                self.server.kill().await.with_context(|| format!("first start {attempt}"))?;
                self.recorder.checker(Checker::killed_first_start);
            }
            self.server.start()?;
            self.server.wait_until_ready().await.context("after a kill during the first start")?;
            self.server.kill().await?;
        }
        self.server.remove_store()
    }

    /// Lets the clients run for this long. None of them ends meanwhile, except by a failure.
    async fn load(&mut self, span: Duration) -> anyhow::Result<()> {
        let clients = &mut self.clients;
        tokio::select! {
            () = sleep(span) => Ok(()),
            Some(ended) = clients.join_next() => ended?,
        }
    }

    async fn kill(&mut self, was_ready: bool) -> anyhow::Result<()> {
        self.recorder.checker(Checker::kill);
        self.server.kill().await?;
        self.recorder.killed(was_ready);
        self.recorder.change_server(|server| server.is_ready = false);
        Ok(())
    }

    /// Whether a violation ends the run.
    fn is_over(&self, plan: &CrashPlan, kills: usize) -> bool {
        self.recorder.checker(|checker| match plan.until {
            None => {
                let is_time_to_compare = kills.is_multiple_of(COMPARE_AFTER);
                !checker.violations().is_empty()
                    || is_time_to_compare && !checker.check().is_empty()
            }
            Some(rule) => checker.check().iter().any(|violation| violation.rule == rule),
        })
    }

    /// Starts the server a last time, lets all clients end, and checks that nothing is left.
    async fn end(&mut self) -> anyhow::Result<()> {
        self.recorder.started();
        self.server.start()?;
        self.server.wait_until_ready().await?;
        self.recorder.change_server(|server| {
            server.process += 1;
            server.is_ready = true;
            server.is_last = true;
        });
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        let freed = clock::until("no lock is left", CLEANUP_TIMEOUT, || async {
            self.leftover().await.is_ok_and(|left| left.is_empty())
        });
        if let Err(error) = freed.await {
            let left = self.leftover().await?;
            self.recorder.violate(Rule::Leak, format!("{error:#}: {left}"));
        }
        // A peer whose creation had no answer lives until its lease ends. It holds nothing.
        self.remove_peers_without_locks().await?;
        let peers = self.ask("/peers/").await?;
        let count = peers.as_array().map_or(usize::MAX, Vec::len);
        ensure!(count == 0, "{count} peers are left after the removal of all peers: {peers}");
        self.kill(true).await
    }

    /// Describes the semaphores that are not completely free. Empty if all are.
    async fn leftover(&self) -> anyhow::Result<String> {
        let mut left = String::new();
        for Semaphore { name, max, .. } in SEMAPHORES {
            let remainder = self.ask(&format!("/remainder?semaphore={name}")).await?;
            let status = self.ask(&format!("/semaphores/{name}")).await?;
            if remainder.as_u64() != Some(*max) || status["waiters"].as_u64() != Some(0) {
                left.push_str(&format!("{name} has {remainder} of {max} free: {status}\n"));
            }
        }
        Ok(left)
    }

    async fn remove_peers_without_locks(&self) -> anyhow::Result<()> {
        let peers = self.ask("/peers/").await?;
        for peer in peers.as_array().context("the list of peers is no array")? {
            let id = peer["id"].as_u64().context("a peer has no id")?;
            let is_idle = matches!(
                decode_peer(peer),
                Some(Answer::Peer { held, pending: None }) if held.is_empty()
            );
            let was_removed = self.recorder.checker(|checker| checker.was_forgotten(id));
            if !is_idle || was_removed {
                let message = format!("a peer that was removed is there at the end: {peer}");
                self.recorder.violate(Rule::Memory, message);
            }
            let mut connection = open(self.server.address()).await?;
            let request = delete(&format!("/peers/{id}"));
            exchange(&mut connection, request).await.context("the server is gone")?;
        }
        Ok(())
    }

    async fn ask(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let mut connection = open(self.server.address()).await?;
        let answer = exchange(&mut connection, get(path)).await.context("the server is gone")?;
        ensure!(answer.0.is_success(), "{path}: {answer:?}");
        Ok(answer.1)
    }
}

/// Contended semaphores of several kinds, and one that is rarely used, so that it is often free.
pub(super) const SEMAPHORES: &[Semaphore] = &[
    Semaphore { name: "mutex", max: 1, level: 0 },
    Semaphore { name: "three", max: 3, level: 0 },
    Semaphore { name: "second", max: 1, level: 0 },
    Semaphore { name: "ten", max: 10, level: 0 },
    Semaphore { name: OUTER, max: 5, level: 1 },
    Semaphore { name: CROWD, max: 1_000_000, level: 0 },
];

/// All but the last one.
const CONTENDED: &[Semaphore] = SEMAPHORES.split_at(SEMAPHORES.len() - 1).0;

/// How many peers live at the same time, about.
const WALKS: u64 = 20;

/// A run with at least so many kills has a large crowd.
const LONG_RUN: usize = 200;

const SMALL_CROWD: usize = 200;

const LARGE_CROWD: usize = 2_000;

/// For so many kills, one file is made whose first start is killed.
const ROUNDS_A_FIRST_START: usize = 10;

/// In this time, a file is made.
const FIRST_START_MS: u64 = 60;

/// The share of kills before the server is ready.
const EARLY: f64 = 0.12;

/// In this time, a recovery is over if the machine is idle.
const RECOVERY_MS: u64 = 80;

/// A process that became ready is killed after at most this time.
const LONGEST_LIFE_MS: u64 = 900;

/// The claims are compared with each other after so many kills.
const COMPARE_AFTER: usize = 50;

/// Longer than the wait of a client that was stopped.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(45);

//! Lets workers compete, and notes what they do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Event, History, Step, Summary, random_faults::inject_random_faults};
use crate::{
    client_kind::{ClientKind, Programs, WorkerOptions},
    clock,
    proxy::Proxy,
    server::Server,
    worker_outcome::OutcomeKind,
    worker_process::WorkerProcess,
};

/// How workers compete.
#[derive(Clone, Debug)]
pub struct Plan {
    /// With which clients.
    pub kinds: Vec<ClientKind>,
    /// For how long.
    pub span: Duration,
    /// Decides which faults are injected.
    pub seed: u64,
    /// Whether the server lets in twice as many as it should, without further faults, to see that the check
    /// finds out.
    pub grants_twice: bool,
}

/// Lets workers compete, and checks what they did. Returns what that was, and how many requests met faults.
///
/// # Errors
///
/// More were in than allowed, tokens did not grow, a lock was lost or left behind, a client failed, or less happened than
/// is needed to prove anything.
///
/// # Panics
///
/// If a worker did.
pub async fn run(programs: &Arc<Programs>, plan: &Plan) -> anyhow::Result<(Summary, usize)> {
    let permits = if plan.grants_twice { 2 } else { 1 };
    let semaphores = SEMAPHORES.map(|(name, max)| (name, max * permits, 0));
    let mut proxy = Proxy::start(Server::start(&semaphores))?;
    let history = Arc::new(Mutex::new(History::default()));
    let end = clock::now() + plan.span;
    let mut competitors = JoinSet::new();
    let kinds = plan.kinds.iter().flat_map(|kind| [kind; WORKERS_PER_KIND]);
    for (semaphore, _) in SEMAPHORES {
        for kind in kinds.clone() {
            let worker = competitors.len();
            let competitor = Competitor {
                programs: Arc::clone(programs),
                server: proxy.server().clone(),
                history: Arc::clone(&history),
                worker,
                kind: *kind,
                options: worker_options(proxy.url(), semaphore, worker),
                semaphore,
                random: StdRng::seed_from_u64(plan.seed.wrapping_add(worker as u64)),
            };
            competitors.spawn(competitor.play(end));
        }
    }
    let playing = async {
        while let Some(competitor) = competitors.join_next().await {
            competitor??;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        result = playing => result?,
        result = inject_random_faults(&mut proxy, plan.seed), if !plan.grants_twice => result?,
    }
    nothing_is_left(&proxy).await?;
    let history = std::mem::take(&mut *history.lock().expect("nobody panics with it"));
    let maxima = SEMAPHORES.map(|(name, max)| (name, usize::try_from(max).unwrap_or(usize::MAX)));
    let summary = history.check(&BTreeMap::from(maxima))?;
    enough(&summary, plan, proxy.faults())?;
    Ok((summary, proxy.faults()))
}

/// A worker, and how it is told what to do.
struct Competitor {
    programs: Arc<Programs>,
    server: Server,
    history: Arc<Mutex<History>>,
    worker: usize,
    kind: ClientKind,
    options: WorkerOptions,
    semaphore: &'static str,
    random: StdRng,
}

impl Competitor {
    /// Takes the lock again and again. A program that takes it once is started anew each time. In the
    /// end nobody is left.
    async fn play(mut self, end: Instant) -> anyhow::Result<()> {
        let who = format!("{} {}", self.kind, self.worker);
        let mut process = None;
        while clock::now() < end {
            self.note(Step::Request);
            let mut worker = match process.take() {
                Some(worker) => worker,
                None => WorkerProcess::start(self.kind, &self.programs, &self.options)?,
            };
            self.round(&mut worker).await.with_context(|| {
                format!("{who} at {:?}, {}", self.semaphore, self.server.describe(self.semaphore))
            })?;
            if self.kind != ClientKind::Throttlectl {
                process = Some(worker);
            }
        }
        if let Some(worker) = process {
            // It has requested_at once more, and gives back at once what it gets.
            worker.close_input_and_wait(WORKER_TIMEOUT).await.context(who)?;
        }
        Ok(())
    }

    async fn round(&mut self, worker: &mut WorkerProcess) -> anyhow::Result<()> {
        let token = match worker.wait_for_lock_or_outcome(WORKER_TIMEOUT).await? {
            Ok((_, token)) => token,
            Err(outcome) => {
                let has_time_limit = self.options.wait.is_some();
                let is_late =
                    matches!(outcome.kind, OutcomeKind::Timeout | OutcomeKind::Unreachable);
                ensure!(has_time_limit && is_late, "it should hold the lock, but ends: {outcome}");
                self.note(Step::GiveUp);
                return Ok(());
            }
        };
        self.note(Step::Enter(token));
        sleep(Duration::from_millis(self.random.random_range(0..20))).await;
        self.note(Step::Leave);
        let outcome = worker.release(WORKER_TIMEOUT).await?;
        ensure!(
            outcome.kind == OutcomeKind::Released,
            "no fault lasts as long as a lease, but: {outcome}"
        );
        Ok(())
    }

    fn note(&self, step: Step) {
        let Self { worker, kind, semaphore, .. } = *self;
        let event = Event { worker, kind, semaphore, step };
        self.history.lock().expect("nobody panics with it").0.push(event);
    }
}

/// Checks that nobody holds or awaits anything when all workers have ended.
///
/// Peers may be left, for an answer that is lost may be that with the id of a new one.
async fn nothing_is_left(proxy: &Proxy) -> anyhow::Result<()> {
    proxy.clear();
    let server = proxy.server();
    for (semaphore, _) in SEMAPHORES {
        let is_free = || server.holders(semaphore).is_empty() && server.waiters(semaphore) == 0;
        let is_free = clock::until("nobody is left at the end", CLEANUP_TIMEOUT, is_free).await;
        is_free.with_context(|| format!("{semaphore:?} is {}", server.describe(semaphore)))?;
    }
    Ok(())
}

/// Of each form at each semaphore one worker has little patience.
fn worker_options(url: String, semaphore: &'static str, worker: usize) -> WorkerOptions {
    let wait = (worker % WORKERS_PER_KIND == 1).then_some(SHORT_WAIT);
    WorkerOptions { url, semaphores: vec![semaphore], lease: LEASE, wait, rounds: u32::MAX }
}

/// Whether enough has happened to prove anything.
fn enough(summary: &Summary, plan: &Plan, faults: usize) -> anyhow::Result<()> {
    for kind in &plan.kinds {
        for (semaphore, _) in SEMAPHORES {
            let entries = summary.entries.get(&(kind.to_string(), semaphore)).copied();
            let entries = entries.unwrap_or_default();
            ensure!(
                entries >= MIN_COVERAGE,
                "{kind} has entered {semaphore:?} only {entries} times"
            );
        }
    }
    let entries = summary.entries.values().sum::<usize>();
    let Summary { contended, handovers, given_up, .. } = summary;
    ensure!(*given_up >= MIN_COVERAGE, "only {given_up} attempts were given up");
    ensure!(contended * 2 > entries, "only {contended} of {entries} entries were contended");
    ensure!(
        *handovers >= MIN_COVERAGE || plan.kinds.len() == 1,
        "only {handovers} handovers between kinds"
    );
    ensure!(faults >= 10 * MIN_COVERAGE, "only {faults} requests have met a fault");
    Ok(())
}

/// What they compete for, each with its maximum.
const SEMAPHORES: [(&str, u64); 2] = [("mutex", 1), ("three", 3)];

/// How many workers of each form compete for each semaphore.
const WORKERS_PER_KIND: usize = 2;

/// What a form must at least have done.
const MIN_COVERAGE: usize = 5;

/// Longer than faults and queues together.
const LEASE: Duration = Duration::from_secs(30);

/// Soon enough for many to give up, and late enough for some not to.
const SHORT_WAIT: Duration = Duration::from_millis(400);

/// After this time the server passes over who requested_at for a lock and went away.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(12);

/// Within this time everybody is let in.
const WORKER_TIMEOUT: Duration = Duration::from_secs(60);

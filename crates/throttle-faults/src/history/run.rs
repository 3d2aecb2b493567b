//! Lets workers compete, and records their steps.

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

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The client kinds that compete.
    pub kinds: Vec<ClientKind>,
    /// The duration of the run.
    pub span: Duration,
    /// The seed of the random faults.
    pub seed: u64,
    /// Whether the server allows twice the maximum, to prove that the check finds violations. There are no
    /// other faults then.
    pub grants_twice: bool,
}

/// Lets workers compete, and checks their history. Returns its summary, and the number of requests that met a
/// fault.
///
/// # Errors
///
/// There is a [`Violation`](crate::claims::Violation), a lock was lost or left behind, a client failed, or too little
/// happened to prove anything.
///
/// # Panics
///
/// If a competitor panics.
pub async fn run(programs: &Arc<Programs>, plan: &Plan) -> anyhow::Result<(Summary, usize)> {
    let factor = if plan.grants_twice { 2 } else { 1 };
    let semaphores = SEMAPHORES.map(|(name, max)| (name, max * factor, 0));
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
            competitors.spawn(competitor.compete(end));
        }
    }
    let competing = async {
        while let Some(competitor) = competitors.join_next().await {
            competitor??;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        result = competing => result?,
        result = inject_random_faults(&mut proxy, plan.seed), if !plan.grants_twice => result?,
    }
    nothing_is_left(&proxy).await?;
    let history =
        std::mem::take(&mut *history.lock().expect("no thread panics while it holds the mutex"));
    let summary = history.check(&BTreeMap::from(SEMAPHORES))?;
    check_coverage(&summary, plan, proxy.faults())?;
    Ok((summary, proxy.faults()))
}

/// Drives one worker, and records its steps.
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
    /// Takes the lock repeatedly until `end`. `throttlectl` takes it once, so it is restarted for each round.
    async fn compete(mut self, end: Instant) -> anyhow::Result<()> {
        let who = format!("{} {}", self.kind, self.worker);
        let mut process = None;
        while clock::now() < end {
            self.record(Step::Request);
            let mut worker = match process.take() {
                Some(worker) => worker,
                None => WorkerProcess::start(self.kind, &self.programs, &self.options)?,
            };
            if let Err(error) = self.round(&mut worker).await {
                let locks = self.server.describe(self.semaphore).await;
                return Err(error.context(format!("{who} at {:?}, {locks}", self.semaphore)));
            }
            if self.kind != ClientKind::Throttlectl {
                process = Some(worker);
            }
        }
        if let Some(worker) = process {
            // It has sent one more request. Without input it releases the lock at once when it gets it.
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
                ensure!(
                    has_time_limit && is_late,
                    "the worker should hold the lock, but ends: {outcome}"
                );
                self.record(Step::GiveUp);
                return Ok(());
            }
        };
        self.record(Step::Enter(token));
        sleep(Duration::from_millis(self.random.random_range(0..20))).await;
        self.record(Step::Leave);
        let outcome = worker.release(WORKER_TIMEOUT).await?;
        ensure!(
            outcome.kind == OutcomeKind::Released,
            "no fault lasts as long as a lease, but: {outcome}"
        );
        Ok(())
    }

    fn record(&self, step: Step) {
        let Self { worker, kind, semaphore, .. } = *self;
        let event = Event { worker, kind, semaphore, step };
        self.history.lock().expect("no thread panics while it holds the mutex").0.push(event);
    }
}

/// Checks that no lock is held or pending after the end of all workers.
///
/// Peers without locks may be left: if the answer to `new_peer` is lost, its peer stays until its lease ends.
async fn nothing_is_left(proxy: &Proxy) -> anyhow::Result<()> {
    proxy.clear();
    let server = proxy.server();
    for (semaphore, _) in SEMAPHORES {
        let is_free = || async {
            server.holders(semaphore).await.is_empty() && server.waiters(semaphore).await == 0
        };
        let freed = clock::until("no lock is left at the end", CLEANUP_TIMEOUT, is_free).await;
        if let Err(error) = freed {
            let locks = server.describe(semaphore).await;
            return Err(error.context(format!("{semaphore:?} is {locks}")));
        }
    }
    Ok(())
}

/// One of the workers of each client kind at each semaphore has a short time limit.
fn worker_options(url: String, semaphore: &'static str, worker: usize) -> WorkerOptions {
    let wait = (worker % WORKERS_PER_KIND == 1).then_some(SHORT_WAIT);
    WorkerOptions { url, semaphores: vec![semaphore], lease: LEASE, wait, rounds: u32::MAX }
}

/// Checks that enough has happened to prove anything.
fn check_coverage(summary: &Summary, plan: &Plan, faults: usize) -> anyhow::Result<()> {
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

/// The semaphores, each with its maximum.
const SEMAPHORES: [(&str, u64); 2] = [("mutex", 1), ("three", 3)];

/// The number of workers of each client kind at each semaphore.
const WORKERS_PER_KIND: usize = 2;

/// The least number of entries, handovers and so on for a run that proves something.
const MIN_COVERAGE: usize = 5;

/// Longer than any wait in the queue during faults, so that no lease ends.
const LEASE: Duration = Duration::from_secs(30);

/// A time limit that many waits exceed, but not all.
const SHORT_WAIT: Duration = Duration::from_millis(400);

/// After this time the server has removed pending locks whose client is gone.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(12);

/// A worker that takes longer for anything has failed.
const WORKER_TIMEOUT: Duration = Duration::from_secs(60);

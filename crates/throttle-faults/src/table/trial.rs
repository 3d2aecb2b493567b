//! One cell of the table: a scenario with one client kind, its server, proxy and workers, and their checks.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use axum::http::StatusCode;
use tokio::time::{Instant, sleep};

use crate::{
    client_kind::{ClientKind, Programs, WorkerOptions},
    clock,
    proxy::{Fault, Proxy},
    server::{Rival, Server},
    worker_outcome::{OutcomeKind, WorkerOutcome},
    worker_process::WorkerProcess,
};

/// The semaphore under test, a mutex.
pub(super) const MUTEX: &str = "A";

/// The semaphore of the outer lock, if there is one.
pub(super) const OUTER: &str = "outer";

/// The limit for steps that take no time on an idle machine.
pub(super) const SOON: Duration = Duration::from_secs(4);

/// How long a client may take to notice the end of a fault. It pauses for two seconds at most.
pub(super) const RECOVERY_TIME: Duration = Duration::from_secs(5);

/// The longest time from the writing of a line in a worker to its reading here.
pub(super) const PIPE_DELAY: Duration = Duration::from_millis(200);

/// How much a client may exceed a time limit.
pub(super) const TOLERANCE: Duration = Duration::from_millis(900);

/// A scenario with one client kind.
#[derive(Debug)]
pub struct Trial {
    programs: Arc<Programs>,
    kind: ClientKind,
    lease: Duration,
    semaphores: Vec<&'static str>,
    has_two_urls: bool,
    /// The proxy, with the server behind it.
    pub proxy: Proxy,
}

/// A span of whole seconds.
pub(super) const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// The fault that answers with an HTML page and this status.
pub(super) fn page(status: u16) -> Fault {
    Fault::Answer(StatusCode::from_u16(status).expect("the status is valid"))
}

impl Trial {
    /// Starts a server and a proxy.
    ///
    /// # Errors
    ///
    /// The system has no free port.
    pub fn new(programs: Arc<Programs>, kind: ClientKind) -> anyhow::Result<Self> {
        let proxy = Proxy::start(Server::start(&[(MUTEX, 1, 0), (OUTER, 1, 1)]))?;
        Ok(Self {
            programs,
            kind,
            lease: seconds(10),
            semaphores: vec![MUTEX],
            has_two_urls: false,
            proxy,
        })
    }

    /// The client kind of the workers.
    pub fn kind(&self) -> ClientKind {
        self.kind
    }

    /// Sets the length of the leases of workers.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Gives workers a second URL of the server, which has no faults.
    pub fn with_two_urls(mut self) -> Self {
        self.has_two_urls = true;
        self
    }

    /// Makes workers take another mutex first, and the one under test within it.
    pub fn with_outer_lock(mut self) -> Self {
        self.semaphores = vec![OUTER, MUTEX];
        self
    }

    /// The server behind the proxy.
    pub fn server(&self) -> &Server {
        self.proxy.server()
    }

    /// Starts a worker that requests the mutex. `None`: it waits without a limit.
    ///
    /// # Errors
    ///
    /// The program cannot be run.
    pub fn start_worker(&self, wait: Option<Duration>) -> anyhow::Result<WorkerProcess> {
        let (mut url, semaphores) = (self.proxy.url(), self.semaphores.clone());
        if self.has_two_urls {
            url = format!("{url},{}", self.proxy.faultless_url());
        }
        let options = WorkerOptions { url, semaphores, lease: self.lease, wait, rounds: 1 };
        WorkerProcess::start(self.kind, &self.programs, &options)
    }

    /// Starts a worker, and waits until it holds the mutex.
    ///
    /// # Errors
    ///
    /// It does not hold it soon.
    pub async fn start_holder(&self) -> anyhow::Result<WorkerProcess> {
        let mut worker = self.start_worker(Some(seconds(20)))?;
        worker.wait_for_lock(START_TIME).await?;
        Ok(worker)
    }

    /// Starts a rival that holds the mutex, and a worker that waits for it.
    ///
    /// # Errors
    ///
    /// The worker does not wait soon.
    pub async fn start_waiter(
        &self,
        wait: Option<Duration>,
    ) -> anyhow::Result<(Rival, WorkerProcess)> {
        let rival = self.server().start_rival(MUTEX).await?;
        let worker = self.start_worker(wait)?;
        let waits = || async { self.server().waiters(MUTEX).await == 1 };
        clock::until("the worker waits for the mutex", START_TIME, waits).await?;
        Ok((rival, worker))
    }

    /// Makes a worker release the lock, and checks that it exits and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// It does something else.
    pub async fn release_and_finish(&self, mut worker: WorkerProcess) -> anyhow::Result<()> {
        check_released(&worker.release(SOON).await?)?;
        self.check_nothing_left(worker, SOON).await
    }

    /// The same while a rival waits for the lock, which it must be granted now, and not before.
    ///
    /// # Errors
    ///
    /// The worker does something else, or the rival is granted the lock before, or not soon.
    pub async fn hand_over(
        &self,
        mut worker: WorkerProcess,
        mut next: Rival,
    ) -> anyhow::Result<()> {
        ensure!(!next.is_answered(), "a rival was granted the lock while the worker held it");
        check_released(&worker.release(SOON).await?)?;
        next.wait_for_lock(SOON).await?;
        next.remove().await?;
        self.check_nothing_left(worker, SOON).await
    }

    /// Waits while a fault lasts, and checks that the worker pauses between its requests.
    ///
    /// # Errors
    ///
    /// It sends too many requests.
    pub async fn wait_and_check_request_rate(&self, span: Duration) -> anyhow::Result<()> {
        let before = self.proxy.requests();
        sleep(span).await;
        let requests = self.proxy.requests() - before;
        let max = MAX_BURST + usize::try_from(span.as_secs())? * MAX_REQUESTS_PER_SECOND;
        ensure!(
            requests <= max,
            "the worker sends {requests} requests in {span:?}, expected at most {max}"
        );
        Ok(())
    }

    /// Checks that a worker exits, and that the server then has no peer, within this time.
    ///
    /// # Errors
    ///
    /// The worker does not exit, or a peer is left.
    pub async fn check_nothing_left(
        &self,
        worker: WorkerProcess,
        within: Duration,
    ) -> anyhow::Result<()> {
        worker.wait_for_exit(SOON).await?;
        let server = self.server();
        let what = "the server has no peer after the end of the worker";
        let removed = clock::until(what, within, || async { server.peers().await == 0 }).await;
        if let Err(error) = removed {
            let peers = server.peers().await;
            let holders = server.holders(MUTEX).await.len();
            let waiters = server.waiters(MUTEX).await;
            let left = format!("{peers} peers, {holders} holders, {waiters} waiters are left");
            return Err(error.context(left));
        }
        Ok(())
    }
}

/// Checks that a lock was held until its release.
///
/// # Errors
///
/// It was not.
pub(super) fn check_released(outcome: &WorkerOutcome) -> anyhow::Result<()> {
    check_outcome(outcome, OutcomeKind::Released)
}

/// Checks the kind of an outcome.
///
/// # Errors
///
/// The kind is another one.
pub(super) fn check_outcome(outcome: &WorkerOutcome, kind: OutcomeKind) -> anyhow::Result<()> {
    ensure!(outcome.kind == kind, "expected {kind:?}, but the outcome is: {outcome}");
    Ok(())
}

impl Trial {
    /// How much a worker may exceed its time limit. The outcome of `throttlectl` comes with its exit, before
    /// which it may try for a while to leave the queue.
    pub fn exit_delay(&self) -> Duration {
        let cleanup =
            if self.kind == ClientKind::Throttlectl { CLEANUP_TIME } else { Duration::ZERO };
        cleanup + TOLERANCE
    }
}

/// Waits for the outcome of a worker, and checks its kind, and the time since the request.
///
/// # Errors
///
/// The kind is another one, or it comes earlier than `after` or later than `within`.
pub(super) async fn check_end(
    worker: &mut WorkerProcess,
    kind: OutcomeKind,
    after: Duration,
    within: Duration,
) -> anyhow::Result<WorkerOutcome> {
    let (at, outcome) = worker.wait_for_outcome(START_TIME + within).await?;
    check_outcome(&outcome, kind)?;
    let took = at - worker.requested_at();
    ensure!(took <= within, "{outcome}: it took {took:?}, more than {within:?}");
    // The message of the request may be read late, so the time may appear shorter.
    let early = after.saturating_sub(PIPE_DELAY);
    ensure!(took >= early, "{outcome}: it took {took:?}, less than {after:?}");
    Ok(outcome)
}

/// Waits while a fault lasts.
pub(super) async fn wait(span: Duration) {
    sleep(span).await;
}

/// Checks that `at` is not later than `within` after `from`.
///
/// # Errors
///
/// It is later.
pub(super) fn check_in_time(
    what: &str,
    from: Instant,
    at: Instant,
    within: Duration,
) -> anyhow::Result<()> {
    let took = at.saturating_duration_since(from);
    ensure!(took <= within, "{what}: after {took:?}, expected within {within:?}");
    Ok(())
}

/// How long a Python interpreter may take to start on a busy machine.
pub(super) const START_TIME: Duration = Duration::from_secs(15);

/// How many requests a client may send at the beginning of a fault, while its pauses are still short.
const MAX_BURST: usize = 10;

/// How many requests a second a client may send while a fault lasts.
const MAX_REQUESTS_PER_SECOND: usize = 5;

/// How long `throttlectl` may try to leave the queue of a silent server.
const CLEANUP_TIME: Duration = Duration::from_secs(2);

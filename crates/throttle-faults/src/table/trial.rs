//! One row with one form: a server, a proxy, a worker, and what must be true in the end.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
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

/// The semaphore that everybody wants: a mutex.
pub(super) const MUTEX: &str = "A";

/// What the mutex is taken within, if anything.
pub(super) const OUTER: &str = "outer";

/// How long something may take that takes no time, on a machine that has a lot to do.
pub(super) const SOON: Duration = Duration::from_secs(4);

/// How long a client may take to notice that a fault is over: it pauses two seconds at most.
pub(super) const RECOVERY_TIME: Duration = Duration::from_secs(5);

/// How much later than it was written a line of another process may be read.
pub(super) const PIPE_DELAY: Duration = Duration::from_millis(200);

/// How late a limit of the caller may be kept.
pub(super) const TOLERANCE: Duration = Duration::from_millis(900);

/// One row with one form.
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

/// A page of HTML with this status.
pub(super) fn page(status: u16) -> Fault {
    Fault::Answer(StatusCode::from_u16(status).expect("it is a status"))
}

impl Trial {
    /// Starts a server that nobody uses yet, and a proxy.
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

    /// Which client the workers use.
    pub fn kind(&self) -> ClientKind {
        self.kind
    }

    /// Gives workers a lease of this length.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Tells workers of a second URL of the server, which meets no faults.
    pub fn with_two_urls(mut self) -> Self {
        self.has_two_urls = true;
        self
    }

    /// Lets workers hold another mutex first.
    pub fn with_outer_lock(mut self) -> Self {
        self.semaphores = vec![OUTER, MUTEX];
        self
    }

    /// The server behind the proxy.
    pub fn server(&self) -> &Server {
        self.proxy.server()
    }

    /// Starts a worker that waits so long for the mutex, or for ever.
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

    /// Somebody else who has the mutex, and a worker that waits for it.
    ///
    /// # Errors
    ///
    /// The worker does not wait soon.
    pub async fn start_waiter(
        &self,
        wait: Option<Duration>,
    ) -> anyhow::Result<(Rival, WorkerProcess)> {
        let rival = self.server().rival(MUTEX).await?;
        let worker = self.start_worker(wait)?;
        let waits = || self.server().waiters(MUTEX) == 1;
        clock::until("it waits for the mutex", START_TIME, waits).await?;
        Ok((rival, worker))
    }

    /// Lets a worker give the lock back, and checks that it exits and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// It does something else.
    pub async fn release_and_finish(&self, mut worker: WorkerProcess) -> anyhow::Result<()> {
        check_released(&worker.release(SOON).await?)?;
        self.check_nothing_left(worker, SOON).await
    }

    /// The same while somebody waits for the lock, who gets it then and leaves.
    ///
    /// # Errors
    ///
    /// The worker does something else, or the one who waits was let in before, or is not let in soon.
    pub async fn hand_over(
        &self,
        mut worker: WorkerProcess,
        mut next: Rival,
    ) -> anyhow::Result<()> {
        ensure!(!next.is_answered(), "somebody else was let in while it held the lock");
        check_released(&worker.release(SOON).await?)?;
        next.held(SOON).await?;
        next.leave().await?;
        self.check_nothing_left(worker, SOON).await
    }

    /// Lets time pass in which a fault does its work, and checks that the worker asks with pauses, and not in
    /// a loop that keeps a processor busy.
    ///
    /// # Errors
    ///
    /// It does.
    pub async fn wait_and_check_request_rate(&self, span: Duration) -> anyhow::Result<()> {
        let before = self.proxy.requests();
        sleep(span).await;
        let requests = self.proxy.requests() - before;
        let max = MAX_BURST + usize::try_from(span.as_secs())? * MAX_REQUESTS_PER_SECOND;
        ensure!(
            requests <= max,
            "it sends {requests} requests in {span:?}, right are {max} at most"
        );
        Ok(())
    }

    /// Checks that a worker exits, and that the server soon knows of no peer.
    ///
    /// # Errors
    ///
    /// It does something else.
    pub async fn check_nothing_left(
        &self,
        worker: WorkerProcess,
        within: Duration,
    ) -> anyhow::Result<()> {
        worker.wait_for_exit(SOON).await?;
        let server = self.server();
        let what = "the server knows of no peer after the end of the worker";
        clock::until(what, within, || server.peers() == 0).await.with_context(|| {
            format!(
                "{} peers, {} holders, {} waiters are left",
                server.peers(),
                server.holders(MUTEX).len(),
                server.waiters(MUTEX)
            )
        })
    }
}

/// Checks that a lock was held until it was given back.
///
/// # Errors
///
/// It was not.
pub(super) fn check_released(outcome: &WorkerOutcome) -> anyhow::Result<()> {
    check_outcome(outcome, OutcomeKind::Released)
}

/// Checks how an attempt ended.
///
/// # Errors
///
/// It ended differently.
pub(super) fn check_outcome(outcome: &WorkerOutcome, kind: OutcomeKind) -> anyhow::Result<()> {
    ensure!(outcome.kind == kind, "right is {kind:?}, but it says: {outcome}");
    Ok(())
}

impl Trial {
    /// How long after its limit a worker may end. `throttlectl` has an end when it exits, and before that it
    /// may try for a while to tell the server that nobody waits any more.
    pub fn exit_delay(&self) -> Duration {
        let cleanup =
            if self.kind == ClientKind::Throttlectl { CLEANUP_TIME } else { Duration::ZERO };
        cleanup + TOLERANCE
    }
}

/// Waits for the end of a worker, and checks that it is this one, so long after it asked.
///
/// # Errors
///
/// It is another end, or too early, or too late.
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
    // That it asks may be read later than it was written.
    let early = after.saturating_sub(PIPE_DELAY);
    ensure!(took >= early, "{outcome}: it took {took:?}, less than {after:?}");
    Ok(outcome)
}

/// Lets time pass in which a fault does its work.
pub(super) async fn wait(span: Duration) {
    sleep(span).await;
}

/// Checks that something happened within a time.
///
/// # Errors
///
/// It happened later.
pub(super) fn check_in_time(
    what: &str,
    from: Instant,
    at: Instant,
    within: Duration,
) -> anyhow::Result<()> {
    let took = at.saturating_duration_since(from);
    ensure!(took <= within, "{what}: after {took:?}, right within {within:?}");
    Ok(())
}

/// How long an interpreter may take to start on a machine that has a lot to do.
pub(super) const START_TIME: Duration = Duration::from_secs(15);

/// How many requests may come at once when a fault begins, for pauses are short at first.
const MAX_BURST: usize = 10;

/// How many requests a second may come while a fault lasts.
const MAX_REQUESTS_PER_SECOND: usize = 5;

/// How long leaving the queue may be tried when nobody answers.
const CLEANUP_TIME: Duration = Duration::from_secs(2);

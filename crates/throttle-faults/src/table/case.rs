//! One row with one form: a server, a proxy, a worker, and what must be true in the end.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use axum::http::StatusCode;
use tokio::time::{Instant, sleep};

use crate::{
    clock,
    form::{Ask, Form, Programs},
    outcome::{End, Outcome},
    proxy::{Fault, Proxy},
    server::{Rival, Server},
    worker::Worker,
};

/// The semaphore that everybody wants: a mutex.
pub(super) const MUTEX: &str = "A";

/// What the mutex is taken within, if anything.
pub(super) const OUTER: &str = "outer";

/// How long something may take that takes no time, on a machine that has a lot to do.
pub(super) const SOON: Duration = Duration::from_secs(4);

/// How long a client may take to notice that a fault is over: it pauses two seconds at most.
pub(super) const NOTICED: Duration = Duration::from_secs(5);

/// How much later than it was written a line of another process may be read.
pub(super) const PIPE: Duration = Duration::from_millis(200);

/// How late a limit of the caller may be kept.
pub(super) const TOLERANCE: Duration = Duration::from_millis(900);

/// One row with one form.
#[derive(Debug)]
pub struct Case {
    programs: Arc<Programs>,
    form: Form,
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

impl Case {
    /// Starts a server that nobody uses yet, and a proxy.
    ///
    /// # Errors
    ///
    /// The system has no free port.
    pub fn new(programs: Arc<Programs>, form: Form) -> anyhow::Result<Self> {
        let proxy = Proxy::start(Server::start(&[(MUTEX, 1, 0), (OUTER, 1, 1)]))?;
        Ok(Self {
            programs,
            form,
            lease: seconds(10),
            semaphores: vec![MUTEX],
            has_two_urls: false,
            proxy,
        })
    }

    /// Which client the workers use.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Gives workers a lease of this length.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Tells workers of a second URL of the server, which meets no faults.
    pub fn two_urls(mut self) -> Self {
        self.has_two_urls = true;
        self
    }

    /// Lets workers hold another mutex first.
    pub fn nested(mut self) -> Self {
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
    pub fn worker(&self, wait: Option<Duration>) -> anyhow::Result<Worker> {
        let (mut url, semaphores) = (self.proxy.url(), self.semaphores.clone());
        if self.has_two_urls {
            url = format!("{url},{}", self.proxy.second_url());
        }
        let ask = Ask { url, semaphores, lease: self.lease, wait, rounds: 1 };
        Worker::start(self.form, &self.programs, &ask)
    }

    /// Starts a worker, and waits until it holds the mutex.
    ///
    /// # Errors
    ///
    /// It does not hold it soon.
    pub async fn holder(&self) -> anyhow::Result<Worker> {
        let mut worker = self.worker(Some(seconds(20)))?;
        worker.held(START).await?;
        Ok(worker)
    }

    /// Somebody else who has the mutex, and a worker that waits for it.
    ///
    /// # Errors
    ///
    /// The worker does not wait soon.
    pub async fn waiter(&self, wait: Option<Duration>) -> anyhow::Result<(Rival, Worker)> {
        let rival = self.server().rival(MUTEX).await?;
        let worker = self.worker(wait)?;
        let waits = || self.server().waiters(MUTEX) == 1;
        clock::until("it waits for the mutex", START, waits).await?;
        Ok((rival, worker))
    }

    /// Lets a worker give the lock back, and checks that it exits and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// It does something else.
    pub async fn finish(&self, mut worker: Worker) -> anyhow::Result<()> {
        released(&worker.release(SOON).await?)?;
        self.leaves_nothing(worker, SOON).await
    }

    /// The same while somebody waits for the lock, who gets it then and leaves.
    ///
    /// # Errors
    ///
    /// The worker does something else, or the one who waits was let in before, or is not let in soon.
    pub async fn hand_over(&self, mut worker: Worker, mut next: Rival) -> anyhow::Result<()> {
        ensure!(!next.is_answered(), "somebody else was let in while it held the lock");
        released(&worker.release(SOON).await?)?;
        next.held(SOON).await?;
        next.leave().await?;
        self.leaves_nothing(worker, SOON).await
    }

    /// Lets time pass in which a fault does its work, and checks that the worker asks with pauses, and not in
    /// a loop that keeps a processor busy.
    ///
    /// # Errors
    ///
    /// It does.
    pub async fn calmly(&self, span: Duration) -> anyhow::Result<()> {
        let before = self.proxy.requests();
        sleep(span).await;
        let requests = self.proxy.requests() - before;
        let most = BURST + usize::try_from(span.as_secs())? * A_SECOND;
        ensure!(
            requests <= most,
            "it sends {requests} requests in {span:?}, right are {most} at most"
        );
        Ok(())
    }

    /// Checks that a worker exits, and that the server soon knows of no peer.
    ///
    /// # Errors
    ///
    /// It does something else.
    pub async fn leaves_nothing(&self, worker: Worker, within: Duration) -> anyhow::Result<()> {
        worker.exit(SOON).await?;
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
pub(super) fn released(outcome: &Outcome) -> anyhow::Result<()> {
    is(outcome, End::Released)
}

/// Checks how an attempt ended.
///
/// # Errors
///
/// It ended differently.
pub(super) fn is(outcome: &Outcome, end: End) -> anyhow::Result<()> {
    ensure!(outcome.end == end, "right is {end:?}, but it says: {outcome}");
    Ok(())
}

impl Case {
    /// How long after its limit a worker may end. `throttlectl` has an end when it exits, and before that it
    /// may try for a while to tell the server that nobody waits any more.
    pub fn delay(&self) -> Duration {
        let farewell = if self.form == Form::Throttlectl { FAREWELL } else { Duration::ZERO };
        farewell + TOLERANCE
    }
}

/// Waits for the end of a worker, and checks that it is this one, so long after it asked.
///
/// # Errors
///
/// It is another end, or too early, or too late.
pub(super) async fn ends(
    worker: &mut Worker,
    end: End,
    after: Duration,
    within: Duration,
) -> anyhow::Result<Outcome> {
    let (at, outcome) = worker.ended(START + within).await?;
    is(&outcome, end)?;
    let took = at - worker.asked();
    ensure!(took <= within, "{outcome}: it took {took:?}, more than {within:?}");
    // That it asks may be read later than it was written.
    let early = after.saturating_sub(PIPE);
    ensure!(took >= early, "{outcome}: it took {took:?}, less than {after:?}");
    Ok(outcome)
}

/// Lets time pass in which a fault does its work.
pub(super) async fn pass(span: Duration) {
    sleep(span).await;
}

/// Checks that something happened within a time.
///
/// # Errors
///
/// It happened later.
pub(super) fn in_time(
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
pub(super) const START: Duration = Duration::from_secs(15);

/// How many requests may come at once when a fault begins, for pauses are short at first.
const BURST: usize = 10;

/// How many requests a second may come while a fault lasts.
const A_SECOND: usize = 5;

/// How long leaving the queue may be tried when nobody answers.
const FAREWELL: Duration = Duration::from_secs(2);

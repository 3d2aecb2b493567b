//! Faults that meet somebody who waits while somebody else has the mutex.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Phase, Scenario, Trial,
    trial::{
        MUTEX, OUTER, RECOVERY_TIME, SOON, START_TIME, TOLERANCE, check_end, check_outcome, page,
        seconds, wait,
    },
};
use crate::{
    client_kind::ClientKind,
    clock,
    proxy::{Fault, RequestKind, Rule},
    server::Rival,
    worker_outcome::OutcomeKind,
    worker_process::WorkerProcess,
};

pub(super) fn scenarios() -> Vec<Scenario> {
    let kept = "held after the holder, place kept";
    let mut scenarios = vec![
        scenario(
            "nothing, for two leases",
            "held after the holder, and stays so",
            longer_than_the_lease,
        ),
        scenario("connections break", kept, |trial| outlives(trial, None, Duration::ZERO)),
        scenario("no answer for 4 s", kept, |trial| {
            outlives(trial, Some(Fault::Silence), seconds(4))
        }),
        scenario("connection refused for 4 s", kept, refused_for_a_while),
        scenario("the first of two URLs refuses from then on", kept, first_url_refuses),
    ];
    for status in [307, 404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for 6 s");
        let page = Some(page(status));
        scenarios.push(scenario(fault, kept, move |trial| outlives(trial, page, seconds(6))));
    }
    scenarios.extend([
        scenario("the answer of the grant is lost", "held soon", grant_is_lost),
        scenario("requests come twice, the second late", "nothing is left", duplicates),
        scenario("not free in time", "timeout in time; nothing is left", timeout),
        scenario("not free, does not wait", "timeout soon; nothing is left", no_wait),
        scenario("silence until the time is over", "unreachable in time", silence),
        scenario("the request is later than the wait", "nothing is left", late_request),
        scenario("an operator removes the peer", "lost soon", removed),
        scenario(
            "the server drains for 3 s, then restarts",
            "held after whoever came first",
            draining,
        ),
        scenario("the server restarts", "held after whoever came first", restart),
        scenario(
            "a grant is later than a restart and a restore",
            "not held while somebody else is in",
            late_grant_within,
        ),
        scenario(
            "a grant is later than a restart",
            "not held while somebody else is in",
            late_grant,
        ),
    ]);
    scenarios
}

fn scenario<F>(
    fault: impl Into<String>,
    expected: &'static str,
    script: impl Fn(Trial) -> F + Send + Sync + 'static,
) -> Scenario
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    Scenario::new(Phase::Waiting, fault, expected, script)
}

async fn longer_than_the_lease(trial: Trial) -> anyhow::Result<()> {
    let lease = seconds(2);
    let trial = trial.with_lease(lease);
    let (rival, mut worker) = trial.start_waiter(Some(seconds(20))).await?;
    wait(lease * 2).await;
    rival.leave().await?;
    worker.wait_for_lock(SOON).await?;
    let next = trial.server().rival(MUTEX).await?;
    wait(lease * 2).await;
    ensure!(!next.is_answered(), "somebody else was let in while it held the lock");
    trial.hand_over(worker, next).await
}

/// All connections break, and a fault meets every request for a while. The worker keeps its place before
/// somebody who comes then.
async fn outlives(mut trial: Trial, fault: Option<Fault>, span: Duration) -> anyhow::Result<()> {
    let (holder, worker) = trial.start_waiter(Some(seconds(40))).await?;
    if let Some(fault) = fault {
        trial.proxy.inject(Rule::always(fault));
    }
    trial.proxy.cut_connections().await?;
    let next = trial.server().rival(MUTEX).await?;
    trial.wait_and_check_request_rate(span).await?;
    trial.proxy.clear();
    goes_first(trial, holder, worker, next).await
}

async fn refused_for_a_while(mut trial: Trial) -> anyhow::Result<()> {
    let (holder, worker) = trial.start_waiter(Some(seconds(40))).await?;
    trial.proxy.refuse_connections().await;
    let next = trial.server().rival(MUTEX).await?;
    wait(seconds(4)).await;
    trial.proxy.accept_connections()?;
    goes_first(trial, holder, worker, next).await
}

async fn first_url_refuses(trial: Trial) -> anyhow::Result<()> {
    let mut trial = trial.with_two_urls();
    let (holder, worker) = trial.start_waiter(Some(seconds(40))).await?;
    trial.proxy.refuse_connections().await;
    let next = trial.server().rival(MUTEX).await?;
    goes_first(trial, holder, worker, next).await
}

/// The worker is let in before somebody who came after it.
async fn goes_first(
    trial: Trial,
    holder: Rival,
    mut worker: WorkerProcess,
    next: Rival,
) -> anyhow::Result<()> {
    let is_back = || trial.server().parked(MUTEX) == 0;
    clock::until("it is back in its place", RECOVERY_TIME, is_back).await?;
    holder.leave().await?;
    worker.wait_for_lock(SOON).await?;
    ensure!(!next.is_answered(), "somebody who came later was let in at the same time");
    trial.hand_over(worker, next).await
}

async fn grant_is_lost(trial: Trial) -> anyhow::Result<()> {
    trial.proxy.inject(Rule::once(Fault::CutAnswer).on(&[RequestKind::Acquire]));
    let (holder, mut worker) = trial.start_waiter(Some(seconds(20))).await?;
    holder.leave().await?;
    worker.wait_for_lock(SOON).await?;
    trial.release_and_finish(worker).await
}

/// Copies of all requests arrive when the worker is long gone.
async fn duplicates(trial: Trial) -> anyhow::Result<()> {
    let late = seconds(3);
    trial.proxy.inject(Rule::always(Fault::Duplicate(late)).on(&[
        RequestKind::Acquire,
        RequestKind::Heartbeat,
        RequestKind::Release,
        RequestKind::Restore,
        RequestKind::RemovePeer,
    ]));
    let (holder, mut worker) = trial.start_waiter(Some(seconds(20))).await?;
    holder.leave().await?;
    worker.wait_for_lock(SOON).await?;
    trial.release_and_finish(worker).await?;
    wait(late + Duration::from_millis(500)).await;
    ensure!(trial.server().peers() == 0, "a late copy has brought a peer back");
    Ok(())
}

async fn timeout(trial: Trial) -> anyhow::Result<()> {
    let wait = seconds(2);
    let (holder, mut worker) = trial.start_waiter(Some(wait)).await?;
    check_end(&mut worker, OutcomeKind::Timeout, wait, wait + TOLERANCE).await?;
    holder.leave().await?;
    trial.check_nothing_left(worker, SOON).await
}

async fn no_wait(trial: Trial) -> anyhow::Result<()> {
    let holder = trial.server().rival(MUTEX).await?;
    let mut worker = trial.start_worker(Some(Duration::ZERO))?;
    check_end(&mut worker, OutcomeKind::Timeout, Duration::ZERO, SOON).await?;
    holder.leave().await?;
    trial.check_nothing_left(worker, SOON).await
}

/// The last attempt gets no answer, so nobody knows whether the lock is free.
async fn silence(mut trial: Trial) -> anyhow::Result<()> {
    let wait = seconds(4);
    let (holder, mut worker) = trial.start_waiter(Some(wait)).await?;
    trial.proxy.inject(Rule::always(Fault::Silence));
    trial.proxy.cut_connections().await?;
    check_end(&mut worker, OutcomeKind::Unreachable, wait, wait + trial.exit_delay()).await?;
    holder.leave().await?;
    trial.proxy.clear();
    // What could not be told is over with the lease, or earlier with the place of a broken connection.
    trial.check_nothing_left(worker, seconds(12)).await
}

/// What asks for the lock arrives when its sender has given up. Nobody may be granted it then.
async fn late_request(trial: Trial) -> anyhow::Result<()> {
    let late = seconds(3);
    trial.proxy.inject(Rule::always(Fault::DelayRequest(late)).on(&[RequestKind::Acquire]));
    let holder = trial.server().rival(MUTEX).await?;
    let mut worker = trial.start_worker(Some(seconds(1)))?;
    let (_, outcome) = worker.wait_for_outcome(START_TIME).await?;
    check_outcome(&outcome, OutcomeKind::Unreachable)?;
    worker.wait_for_exit(SOON).await?;
    wait(late).await;
    holder.leave().await?;
    let server = trial.server();
    ensure!(server.holders(MUTEX).is_empty(), "the lock was granted to somebody who is gone");
    let what = "the peer whose request was late is gone";
    clock::until(what, SOON, || server.peers() == 0).await
}

/// Whoever is taken out of the queue does not come back. That nothing was held yet is what the status of
/// `throttlectl` tells: there was no command that could have ended.
async fn removed(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(seconds(3));
    let (holder, mut worker) = trial.start_waiter(Some(seconds(20))).await?;
    trial.server().remove_waiters(MUTEX).await?;
    let (_, outcome) = worker.wait_for_outcome(SOON).await?;
    check_outcome(
        &outcome,
        if trial.kind() == ClientKind::Throttlectl {
            OutcomeKind::Timeout
        } else {
            OutcomeKind::Lost
        },
    )?;
    holder.leave().await?;
    trial.check_nothing_left(worker, SOON).await
}

/// The server is going to end, and says so to everybody.
async fn draining(trial: Trial) -> anyhow::Result<()> {
    let (_, worker) = trial.start_waiter(Some(seconds(30))).await?;
    trial.server().drain();
    trial.wait_and_check_request_rate(seconds(3)).await?;
    comes_second(trial, worker).await
}

/// The server forgets everybody, and somebody else comes first.
async fn restart(trial: Trial) -> anyhow::Result<()> {
    let (_, worker) = trial.start_waiter(Some(seconds(30))).await?;
    comes_second(trial, worker).await
}

async fn comes_second(trial: Trial, mut worker: WorkerProcess) -> anyhow::Result<()> {
    trial.proxy.inject(Rule::always(page(503)));
    trial.server().restart();
    let holder = trial.server().rival(MUTEX).await?;
    wait(seconds(1)).await;
    trial.proxy.clear();
    let waits = || trial.server().waiters(MUTEX) == 1;
    clock::until("it waits again", START_TIME, waits).await?;
    holder.leave().await?;
    worker.wait_for_lock(SOON).await?;
    trial.release_and_finish(worker).await
}

/// The answer of a grant is under way while the server restarts and somebody else is let in. Either the
/// worker finds out, or it waits until the other one is out again.
async fn late_grant(trial: Trial) -> anyhow::Result<()> {
    let late = seconds(4);
    // Its life is renewed while the answer is under way, so it finds out that it is forgotten.
    let trial = trial.with_lease(seconds(3));
    trial.proxy.inject(Rule::once(Fault::DelayAnswer(late)).on(&[RequestKind::Acquire]));
    let mut worker = trial.start_worker(Some(seconds(30)))?;
    let granted = || trial.server().holders(MUTEX).len() == 1;
    clock::until("the lock is granted", START_TIME, granted).await?;
    trial.server().restart();
    let rival = trial.server().rival(MUTEX).await?;
    let early = worker.wait_for_lock(late + seconds(2)).await;
    ensure!(early.is_err(), "it holds the lock, and so does somebody else");
    rival.leave().await?;
    worker.wait_for_lock(RECOVERY_TIME + SOON).await?;
    trial.release_and_finish(worker).await
}

/// The same while the worker holds another lock: its next sign of life tells it that it is forgotten, and
/// it restores that lock. What was granted before does not count then.
async fn late_grant_within(trial: Trial) -> anyhow::Result<()> {
    // Signs of life come every two seconds, so some are in time.
    let trial = trial.with_outer_lock().with_lease(seconds(6));
    // Behind the request for the other lock.
    let inner = Rule::once(Fault::DelayAnswer(seconds(5))).on(&[RequestKind::Acquire]).skip(1);
    trial.proxy.inject(inner);
    let mut worker = trial.start_worker(Some(seconds(30)))?;
    let granted = || trial.server().holders(MUTEX).len() == 1;
    clock::until("the lock is granted", START_TIME, granted).await?;
    trial.server().restart();
    let rival = trial.server().rival(MUTEX).await?;
    let early = worker.wait_for_lock(seconds(7)).await;
    ensure!(early.is_err(), "it holds the lock, and so does somebody else");
    ensure!(trial.server().holders(OUTER).len() == 1, "the other lock was not restored");
    rival.leave().await?;
    worker.wait_for_lock(RECOVERY_TIME + SOON).await?;
    trial.release_and_finish(worker).await
}

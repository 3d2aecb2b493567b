//! Faults while a worker waits for the mutex that a rival holds.

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

const PHASE: Phase = Phase::Waiting;

pub(super) fn scenarios() -> Vec<Scenario> {
    let kept = "held after the holder, place kept";
    let mut scenarios = vec![
        PHASE.scenario(
            "nothing, for two leases",
            "held after the holder, and stays so",
            longer_than_the_lease,
        ),
        PHASE.scenario("connections break", kept, |trial| {
            keeps_place_during_fault(trial, None, Duration::ZERO)
        }),
        PHASE.scenario("no answer for 4 s", kept, |trial| {
            keeps_place_during_fault(trial, Some(Fault::Silence), seconds(4))
        }),
        PHASE.scenario("connection refused for 4 s", kept, refused_for_a_while),
        PHASE.scenario("the first of two URLs refuses from then on", kept, first_url_refuses),
    ];
    for status in [307, 404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for 6 s");
        let page = Some(page(status));
        scenarios.push(
            PHASE.scenario(fault, kept, move |trial| {
                keeps_place_during_fault(trial, page, seconds(6))
            }),
        );
    }
    scenarios.extend([
        PHASE.scenario("the answer of the grant is lost", "held soon", grant_is_lost),
        PHASE.scenario("requests come twice, the second late", "nothing is left", duplicates),
        PHASE.scenario("not free in time", "timeout in time; nothing is left", timeout),
        PHASE.scenario("not free, does not wait", "timeout soon; nothing is left", no_wait),
        PHASE.scenario("silence until the time is over", "unreachable in time", silence),
        PHASE.scenario("the request is later than the wait", "nothing is left", late_request),
        PHASE.scenario("an operator removes the peer", "lost soon", removed),
        PHASE.scenario(
            "the server drains for 3 s, then restarts",
            "held after the first rival",
            draining,
        ),
        PHASE.scenario("the server restarts", "held after the first rival", restart),
        PHASE.scenario(
            "a grant is later than a restart and a restore",
            "not held while a rival holds it",
            late_grant_nested,
        ),
        PHASE.scenario(
            "a grant is later than a restart",
            "not held while a rival holds it",
            late_grant,
        ),
    ]);
    scenarios
}

async fn longer_than_the_lease(trial: Trial) -> anyhow::Result<()> {
    let lease = seconds(2);
    let trial = trial.with_lease(lease);
    let (rival, mut worker) = trial.start_waiter(Some(seconds(20))).await?;
    wait(lease * 2).await;
    rival.remove().await?;
    worker.wait_for_lock(SOON).await?;
    let next = trial.server().start_rival(MUTEX).await?;
    wait(lease * 2).await;
    ensure!(!next.is_answered(), "a rival was granted the lock while the worker held it");
    trial.hand_over(worker, next).await
}

/// All connections break, and every request meets the fault for a while. The worker keeps its place before a
/// rival that comes meanwhile.
async fn keeps_place_during_fault(
    mut trial: Trial,
    fault: Option<Fault>,
    span: Duration,
) -> anyhow::Result<()> {
    let (holder, worker) = trial.start_waiter(Some(seconds(40))).await?;
    if let Some(fault) = fault {
        trial.proxy.inject(Rule::always(fault));
    }
    trial.proxy.cut_connections().await?;
    let next = trial.server().start_rival(MUTEX).await?;
    trial.wait_and_check_request_rate(span).await?;
    trial.proxy.clear();
    check_place_kept(trial, holder, worker, next).await
}

async fn refused_for_a_while(mut trial: Trial) -> anyhow::Result<()> {
    let (holder, worker) = trial.start_waiter(Some(seconds(40))).await?;
    trial.proxy.refuse_connections().await;
    let next = trial.server().start_rival(MUTEX).await?;
    wait(seconds(4)).await;
    trial.proxy.accept_connections()?;
    check_place_kept(trial, holder, worker, next).await
}

async fn first_url_refuses(trial: Trial) -> anyhow::Result<()> {
    let mut trial = trial.with_two_urls();
    let (holder, worker) = trial.start_waiter(Some(seconds(40))).await?;
    trial.proxy.refuse_connections().await;
    let next = trial.server().start_rival(MUTEX).await?;
    check_place_kept(trial, holder, worker, next).await
}

/// The worker is granted the lock before the rival that came after it.
async fn check_place_kept(
    trial: Trial,
    holder: Rival,
    mut worker: WorkerProcess,
    next: Rival,
) -> anyhow::Result<()> {
    let is_back = || async { trial.server().parked(MUTEX).await == 0 };
    clock::until("the worker is back in its place", RECOVERY_TIME, is_back).await?;
    holder.remove().await?;
    worker.wait_for_lock(SOON).await?;
    ensure!(!next.is_answered(), "a later rival was granted the lock at the same time");
    trial.hand_over(worker, next).await
}

async fn grant_is_lost(trial: Trial) -> anyhow::Result<()> {
    trial.proxy.inject(Rule::once(Fault::CutAnswer).on(&[RequestKind::Acquire]));
    let (holder, mut worker) = trial.start_waiter(Some(seconds(20))).await?;
    holder.remove().await?;
    worker.wait_for_lock(SOON).await?;
    trial.release_and_finish(worker).await
}

/// Copies of all requests arrive after the end of the worker.
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
    holder.remove().await?;
    worker.wait_for_lock(SOON).await?;
    trial.release_and_finish(worker).await?;
    wait(late + Duration::from_millis(500)).await;
    ensure!(trial.server().peers().await == 0, "a late copy has brought a peer back");
    Ok(())
}

async fn timeout(trial: Trial) -> anyhow::Result<()> {
    let wait = seconds(2);
    let (holder, mut worker) = trial.start_waiter(Some(wait)).await?;
    check_end(&mut worker, OutcomeKind::Timeout, wait, wait + TOLERANCE).await?;
    holder.remove().await?;
    trial.check_nothing_left(worker, SOON).await
}

async fn no_wait(trial: Trial) -> anyhow::Result<()> {
    let holder = trial.server().start_rival(MUTEX).await?;
    let mut worker = trial.start_worker(Some(Duration::ZERO))?;
    check_end(&mut worker, OutcomeKind::Timeout, Duration::ZERO, SOON).await?;
    holder.remove().await?;
    trial.check_nothing_left(worker, SOON).await
}

/// The last request gets no answer, so whether the lock is free is unknown.
async fn silence(mut trial: Trial) -> anyhow::Result<()> {
    let wait = seconds(4);
    let (holder, mut worker) = trial.start_waiter(Some(wait)).await?;
    trial.proxy.inject(Rule::always(Fault::Silence));
    trial.proxy.cut_connections().await?;
    check_end(&mut worker, OutcomeKind::Unreachable, wait, wait + trial.exit_delay()).await?;
    holder.remove().await?;
    trial.proxy.clear();
    // The peer is left until its lease ends. Its pending lock is removed earlier, because its connection broke.
    trial.check_nothing_left(worker, seconds(12)).await
}

/// The lock request arrives after the worker has given up. It must not be granted.
async fn late_request(trial: Trial) -> anyhow::Result<()> {
    let late = seconds(3);
    trial.proxy.inject(Rule::always(Fault::DelayRequest(late)).on(&[RequestKind::Acquire]));
    let holder = trial.server().start_rival(MUTEX).await?;
    let mut worker = trial.start_worker(Some(seconds(1)))?;
    let (_, outcome) = worker.wait_for_outcome(START_TIME).await?;
    check_outcome(&outcome, OutcomeKind::Unreachable)?;
    worker.wait_for_exit(SOON).await?;
    wait(late).await;
    holder.remove().await?;
    let server = trial.server();
    ensure!(
        server.holders(MUTEX).await.is_empty(),
        "the lock was granted to a worker that is gone"
    );
    let what = "the peer whose request was late is gone";
    clock::until(what, SOON, || async { server.peers().await == 0 }).await
}

/// The worker does not join the queue again. `throttlectl` exits with the status of a timeout, because it held
/// nothing yet and has not run its command.
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
    holder.remove().await?;
    trial.check_nothing_left(worker, SOON).await
}

/// The server drains and then restarts.
async fn draining(trial: Trial) -> anyhow::Result<()> {
    let (_, worker) = trial.start_waiter(Some(seconds(30))).await?;
    trial.server().drain();
    trial.wait_and_check_request_rate(seconds(3)).await?;
    check_queued_again(trial, worker).await
}

/// The server restarts, and a rival requests the lock first.
async fn restart(trial: Trial) -> anyhow::Result<()> {
    let (_, worker) = trial.start_waiter(Some(seconds(30))).await?;
    check_queued_again(trial, worker).await
}

async fn check_queued_again(trial: Trial, mut worker: WorkerProcess) -> anyhow::Result<()> {
    trial.proxy.inject(Rule::always(page(503)));
    trial.server().restart();
    let holder = trial.server().start_rival(MUTEX).await?;
    wait(seconds(1)).await;
    trial.proxy.clear();
    let waits = || async { trial.server().waiters(MUTEX).await == 1 };
    clock::until("the worker waits again", START_TIME, waits).await?;
    holder.remove().await?;
    worker.wait_for_lock(SOON).await?;
    trial.release_and_finish(worker).await
}

/// The answer of a grant is delayed. Meanwhile the server restarts and grants the lock to a rival. The worker
/// must not take the late grant for valid.
async fn late_grant(trial: Trial) -> anyhow::Result<()> {
    let late = seconds(4);
    // Short enough for a heartbeat before the answer, which reports that the server does not know the peer.
    let trial = trial.with_lease(seconds(3));
    trial.proxy.inject(Rule::once(Fault::DelayAnswer(late)).on(&[RequestKind::Acquire]));
    let mut worker = trial.start_worker(Some(seconds(30)))?;
    let granted = || async { trial.server().holders(MUTEX).await.len() == 1 };
    clock::until("the lock is granted", START_TIME, granted).await?;
    trial.server().restart();
    let rival = trial.server().start_rival(MUTEX).await?;
    let early = worker.wait_for_lock(late + seconds(2)).await;
    ensure!(early.is_err(), "the worker and a rival hold the lock at the same time");
    rival.remove().await?;
    worker.wait_for_lock(RECOVERY_TIME + SOON).await?;
    trial.release_and_finish(worker).await
}

/// The same while the worker holds another lock. Its next heartbeat fails, and it restores that lock. The late
/// grant is void.
async fn late_grant_nested(trial: Trial) -> anyhow::Result<()> {
    // Heartbeats are sent every two seconds, so some come before the answer.
    let trial = trial.with_outer_lock().with_lease(seconds(6));
    // Skips the request for the outer lock.
    let inner = Rule::once(Fault::DelayAnswer(seconds(5))).on(&[RequestKind::Acquire]).skip(1);
    trial.proxy.inject(inner);
    let mut worker = trial.start_worker(Some(seconds(30)))?;
    let granted = || async { trial.server().holders(MUTEX).await.len() == 1 };
    clock::until("the lock is granted", START_TIME, granted).await?;
    trial.server().restart();
    let rival = trial.server().start_rival(MUTEX).await?;
    let early = worker.wait_for_lock(seconds(7)).await;
    ensure!(early.is_err(), "the worker and a rival hold the lock at the same time");
    ensure!(trial.server().holders(OUTER).await.len() == 1, "the other lock was not restored");
    rival.remove().await?;
    worker.wait_for_lock(RECOVERY_TIME + SOON).await?;
    trial.release_and_finish(worker).await
}

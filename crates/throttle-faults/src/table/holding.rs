//! Faults that meet somebody who holds the mutex.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Phase, Scenario, Trial,
    trial::{
        MUTEX, OUTER, PIPE_DELAY, SOON, TOLERANCE, check_in_time, check_outcome, page, seconds,
        wait,
    },
};
use crate::{
    clock,
    proxy::{Fault, RequestKind, Rule},
    server::Rival,
    worker_outcome::OutcomeKind,
    worker_process::WorkerProcess,
};

pub(super) fn scenarios() -> Vec<Scenario> {
    let late = Duration::from_millis(500);
    let mut scenarios = vec![scenario("nothing, for two leases", KEPT, undisturbed)];
    for status in [404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for half a lease");
        scenarios.push(scenario(fault, KEPT, move |trial| outlives(trial, page(status))));
    }
    scenarios.extend([
        scenario("no answer for half a lease", KEPT, |trial| outlives(trial, Fault::Silence)),
        scenario("requests are lost for half a lease", KEPT, |trial| {
            outlives(trial, Fault::CutRequest)
        }),
        scenario("connection refused for half a lease", KEPT, refused_for_a_while),
        scenario("the first of two URLs refuses from then on", KEPT, first_url_refuses),
        scenario("redirect 307 for two leases", KEPT, |trial| lives_with(trial, page(307))),
        scenario("redirect 308 for two leases", KEPT, |trial| lives_with(trial, page(308))),
        scenario("requests are late for two leases", KEPT, move |trial| {
            lives_with(trial, Fault::DelayRequest(late))
        }),
        scenario("answers are late for two leases", KEPT, move |trial| {
            lives_with(trial, Fault::DelayAnswer(late))
        }),
        scenario("requests come twice for two leases", KEPT, move |trial| {
            lives_with(trial, Fault::Duplicate(late))
        }),
        scenario("no answer for a whole lease", LOST, |trial| loses(trial, Fault::Silence)),
        scenario("502 with a page for a whole lease", LOST, |trial| loses(trial, page(502))),
        scenario("requests are lost for a whole lease", LOST, |trial| {
            loses(trial, Fault::CutRequest)
        }),
        scenario("answers are lost for a whole lease", LOST, |trial| {
            loses(trial, Fault::CutAnswer)
        }),
        scenario("connection refused for a whole lease", LOST, refused),
        scenario("an operator removes the peer", "lost with the next heartbeat", removed),
        scenario("an operator removes the peer, noticed at the end", "lost", removed_unnoticed),
        scenario("the server drains for half a lease, then restarts", RESTORED, draining),
        scenario("the server restarts", RESTORED, |trial| restart(trial, Fault::CutAnswer)),
        scenario("the server restarts, the restore is lost", RESTORED, |trial| {
            restart(trial, Fault::CutRequest)
        }),
        scenario("the server restarts, the restore meets 502", RESTORED, |trial| {
            restart(trial, page(502))
        }),
        scenario("the server restarts, the restore comes twice", RESTORED, move |trial| {
            restart(trial, Fault::Duplicate(late))
        }),
        scenario("the server restarts, two locks are held", RESTORED, restart_nested),
        scenario("the server restarts and is away for half a lease", RESTORED, away),
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
    Scenario::new(Phase::Holding, fault, expected, script)
}

async fn undisturbed(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    let next = trial.server().rival(MUTEX).await?;
    stays(trial, worker, next).await
}

/// A fault meets every request for half a lease. The worker is still in when two leases are over.
async fn outlives(mut trial: Trial, fault: Fault) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::always(fault));
    trial.proxy.cut_connections().await?;
    let next = trial.server().rival(MUTEX).await?;
    trial.wait_and_check_request_rate(LEASE / 2).await?;
    trial.proxy.clear();
    stays(trial, worker, next).await
}

/// A fault meets every sign of life, and none of them keeps it from being one.
async fn lives_with(mut trial: Trial, fault: Fault) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::always(fault));
    trial.proxy.cut_connections().await?;
    let next = trial.server().rival(MUTEX).await?;
    wait(LEASE * 2).await;
    ensure!(trial.proxy.faults() > 1, "the fault has met nobody");
    ensure!(!next.is_answered(), "somebody else was let in while it held the lock");
    trial.proxy.clear();
    trial.hand_over(worker, next).await
}

async fn refused_for_a_while(mut trial: Trial) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.refuse_connections().await;
    let next = trial.server().rival(MUTEX).await?;
    wait(LEASE / 2).await;
    trial.proxy.accept_connections()?;
    stays(trial, worker, next).await
}

async fn first_url_refuses(trial: Trial) -> anyhow::Result<()> {
    let mut trial = trial.with_two_urls().with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.refuse_connections().await;
    let next = trial.server().rival(MUTEX).await?;
    stays(trial, worker, next).await
}

/// Nobody else is let in until the worker is out.
async fn stays(trial: Trial, worker: WorkerProcess, next: Rival) -> anyhow::Result<()> {
    wait(LEASE + LEASE / 2).await;
    ensure!(!next.is_answered(), "somebody else was let in while it held the lock");
    trial.hand_over(worker, next).await
}

/// No sign of life gets through. The worker knows of its loss before anybody else is let in.
async fn loses(trial: Trial, fault: Fault) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let mut worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::always(fault));
    knows(trial, &mut worker).await
}

async fn refused(mut trial: Trial) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let mut worker = trial.start_holder().await?;
    trial.proxy.refuse_connections().await;
    knows(trial, &mut worker).await
}

async fn knows(trial: Trial, worker: &mut WorkerProcess) -> anyhow::Result<()> {
    let start = clock::now();
    let mut next = trial.server().rival(MUTEX).await?;
    // The server may have got a last sign of life that nobody was told of.
    let granted = next.held(LEASE * 2 + SOON);
    let (noticed, granted) = tokio::join!(worker.wait_for_loss(LEASE + SOON), granted);
    let (noticed, granted) = (noticed?, granted?);
    check_in_time("it notices the loss", start, noticed, LEASE + TOLERANCE)?;
    check_in_time("it notices the loss before somebody else is in", granted, noticed, PIPE_DELAY)?;
    next.leave().await
}

/// The peer is removed, and somebody else is in. The next heartbeat tells.
async fn removed(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let mut worker = trial.start_holder().await?;
    trial.server().remove_holders(MUTEX).await?;
    worker.wait_for_loss(LEASE / 2 + TOLERANCE).await?;
    trial.check_nothing_left(worker, SOON).await
}

/// The same before a heartbeat is due: what tells is that the server knows nothing to give back.
async fn removed_unnoticed(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(seconds(60));
    let mut worker = trial.start_holder().await?;
    trial.server().remove_holders(MUTEX).await?;
    let mut next = trial.server().rival(MUTEX).await?;
    next.held(SOON).await?;
    let outcome = worker.release(SOON).await?;
    check_outcome(&outcome, OutcomeKind::Lost)?;
    next.leave().await?;
    trial.check_nothing_left(worker, SOON).await
}

/// The server forgets everybody. The worker tells it what it holds before somebody asks for it, whatever
/// meets the first attempt to tell it.
async fn restart(trial: Trial, fault: Fault) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::once(fault).on(&[RequestKind::Restore]));
    trial.server().restart();
    restored(trial, worker).await
}

/// The same with two locks, one within the other.
async fn restart_nested(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_outer_lock().with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.server().restart();
    let restored = || !trial.server().holders(MUTEX).is_empty();
    clock::until("it is restored", LEASE, restored).await?;
    ensure!(trial.server().holders(OUTER).len() == 1, "only one of two locks was restored");
    trial.release_and_finish(worker).await
}

/// The server is going to end, and says so to everybody.
async fn draining(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.server().drain();
    trial.wait_and_check_request_rate(LEASE / 2).await?;
    trial.server().restart();
    restored(trial, worker).await
}

/// The same while nobody listens for a while.
async fn away(mut trial: Trial) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.refuse_connections().await;
    trial.server().restart();
    wait(LEASE / 2).await;
    trial.proxy.accept_connections()?;
    restored(trial, worker).await
}

async fn restored(trial: Trial, worker: WorkerProcess) -> anyhow::Result<()> {
    let is_restored = || !trial.server().holders(MUTEX).is_empty();
    clock::until("it is restored", LEASE, is_restored).await?;
    let next = trial.server().rival(MUTEX).await?;
    stays(trial, worker, next).await
}

/// Long enough for a heartbeat to fail and to be repeated.
const LEASE: Duration = Duration::from_secs(4);

const KEPT: &str = "stays in; nothing is left";

const RESTORED: &str = "restored: nobody else gets in";

const LOST: &str = "lost before somebody else gets in";

//! Faults while a worker holds the mutex.

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

const PHASE: Phase = Phase::Holding;

pub(super) fn scenarios() -> Vec<Scenario> {
    let late = Duration::from_millis(500);
    let mut scenarios = vec![PHASE.scenario("nothing, for two leases", KEPT, no_fault)];
    for status in [404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for half a lease");
        scenarios.push(
            PHASE.scenario(fault, KEPT, move |trial| keeps_lock_during_fault(trial, page(status))),
        );
    }
    scenarios.extend([
        PHASE.scenario("no answer for half a lease", KEPT, |trial| {
            keeps_lock_during_fault(trial, Fault::Silence)
        }),
        PHASE.scenario("requests are lost for half a lease", KEPT, |trial| {
            keeps_lock_during_fault(trial, Fault::CutRequest)
        }),
        PHASE.scenario("connection refused for half a lease", KEPT, refused_for_a_while),
        PHASE.scenario("the first of two URLs refuses from then on", KEPT, first_url_refuses),
        PHASE.scenario("redirect 307 for two leases", KEPT, |trial| {
            renews_despite_fault(trial, page(307))
        }),
        PHASE.scenario("redirect 308 for two leases", KEPT, |trial| {
            renews_despite_fault(trial, page(308))
        }),
        PHASE.scenario("requests are late for two leases", KEPT, move |trial| {
            renews_despite_fault(trial, Fault::DelayRequest(late))
        }),
        PHASE.scenario("answers are late for two leases", KEPT, move |trial| {
            renews_despite_fault(trial, Fault::DelayAnswer(late))
        }),
        PHASE.scenario("requests come twice for two leases", KEPT, move |trial| {
            renews_despite_fault(trial, Fault::Duplicate(late))
        }),
        PHASE.scenario("no answer for a whole lease", LOST, |trial| {
            loses_lock(trial, Fault::Silence)
        }),
        PHASE.scenario("502 with a page for a whole lease", LOST, |trial| {
            loses_lock(trial, page(502))
        }),
        PHASE.scenario("requests are lost for a whole lease", LOST, |trial| {
            loses_lock(trial, Fault::CutRequest)
        }),
        PHASE.scenario("answers are lost for a whole lease", LOST, |trial| {
            loses_lock(trial, Fault::CutAnswer)
        }),
        PHASE.scenario("connection refused for a whole lease", LOST, refused),
        PHASE.scenario("an operator removes the peer", "lost with the next heartbeat", removed),
        PHASE.scenario(
            "an operator removes the peer, noticed at the end",
            "lost",
            removed_unnoticed,
        ),
        PHASE.scenario("the server drains for half a lease, then restarts", RESTORED, draining),
        PHASE.scenario("the server restarts", RESTORED, |trial| restart(trial, Fault::CutAnswer)),
        PHASE.scenario("the server restarts, the restore is lost", RESTORED, |trial| {
            restart(trial, Fault::CutRequest)
        }),
        PHASE.scenario("the server restarts, the restore meets 502", RESTORED, |trial| {
            restart(trial, page(502))
        }),
        PHASE.scenario("the server restarts, the restore comes twice", RESTORED, move |trial| {
            restart(trial, Fault::Duplicate(late))
        }),
        PHASE.scenario("the server restarts, two locks are held", RESTORED, restart_nested),
        PHASE.scenario(
            "the server restarts and is away for half a lease",
            RESTORED,
            restart_with_outage,
        ),
    ]);
    scenarios
}

async fn no_fault(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    let next = trial.server().start_rival(MUTEX).await?;
    check_kept(trial, worker, next).await
}

/// Every request meets the fault for half a lease. The worker still holds the lock after two leases.
async fn keeps_lock_during_fault(mut trial: Trial, fault: Fault) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::always(fault));
    trial.proxy.cut_connections().await?;
    let next = trial.server().start_rival(MUTEX).await?;
    trial.wait_and_check_request_rate(LEASE / 2).await?;
    trial.proxy.clear();
    check_kept(trial, worker, next).await
}

/// Every heartbeat meets the fault, but still renews the lease.
async fn renews_despite_fault(mut trial: Trial, fault: Fault) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::always(fault));
    trial.proxy.cut_connections().await?;
    let next = trial.server().start_rival(MUTEX).await?;
    wait(LEASE * 2).await;
    ensure!(trial.proxy.faults() > 1, "no request met the fault");
    ensure!(!next.is_answered(), "a rival was granted the lock while the worker held it");
    trial.proxy.clear();
    trial.hand_over(worker, next).await
}

async fn refused_for_a_while(mut trial: Trial) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.refuse_connections().await;
    let next = trial.server().start_rival(MUTEX).await?;
    wait(LEASE / 2).await;
    trial.proxy.accept_connections()?;
    check_kept(trial, worker, next).await
}

async fn first_url_refuses(trial: Trial) -> anyhow::Result<()> {
    let mut trial = trial.with_two_urls().with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.refuse_connections().await;
    let next = trial.server().start_rival(MUTEX).await?;
    check_kept(trial, worker, next).await
}

/// A rival is not granted the lock before the worker releases it.
async fn check_kept(trial: Trial, worker: WorkerProcess, next: Rival) -> anyhow::Result<()> {
    wait(LEASE + LEASE / 2).await;
    ensure!(!next.is_answered(), "a rival was granted the lock while the worker held it");
    trial.hand_over(worker, next).await
}

/// No heartbeat gets through. The worker reports the loss before a rival is granted the lock.
async fn loses_lock(trial: Trial, fault: Fault) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let mut worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::always(fault));
    check_loss(trial, &mut worker).await
}

async fn refused(mut trial: Trial) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let mut worker = trial.start_holder().await?;
    trial.proxy.refuse_connections().await;
    check_loss(trial, &mut worker).await
}

async fn check_loss(trial: Trial, worker: &mut WorkerProcess) -> anyhow::Result<()> {
    let start = clock::now();
    let mut next = trial.server().start_rival(MUTEX).await?;
    // The server may have received a last heartbeat whose answer was lost.
    let granted = next.wait_for_lock(LEASE * 2 + SOON);
    let (noticed, granted) = tokio::join!(worker.wait_for_loss(LEASE + SOON), granted);
    let (noticed, granted) = (noticed?, granted?);
    check_in_time("the worker notices the loss", start, noticed, LEASE + TOLERANCE)?;
    check_in_time(
        "the worker notices the loss before a rival holds the lock",
        granted,
        noticed,
        PIPE_DELAY,
    )?;
    next.remove().await
}

/// An operator removes the peer. The answer to the next heartbeat reports it.
async fn removed(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let mut worker = trial.start_holder().await?;
    trial.server().remove_holders(MUTEX).await?;
    worker.wait_for_loss(LEASE / 2 + TOLERANCE).await?;
    trial.check_nothing_left(worker, SOON).await
}

/// The same before a heartbeat is due. The answer to the release reports it.
async fn removed_unnoticed(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(seconds(60));
    let mut worker = trial.start_holder().await?;
    trial.server().remove_holders(MUTEX).await?;
    let mut next = trial.server().start_rival(MUTEX).await?;
    next.wait_for_lock(SOON).await?;
    let outcome = worker.release(SOON).await?;
    check_outcome(&outcome, OutcomeKind::Lost)?;
    next.remove().await?;
    trial.check_nothing_left(worker, SOON).await
}

/// The server restarts. The worker restores its lock before a rival requests it, although the first attempt
/// meets the fault.
async fn restart(trial: Trial, fault: Fault) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::once(fault).on(&[RequestKind::Restore]));
    trial.server().restart();
    check_restored(trial, worker).await
}

/// The same with two nested locks.
async fn restart_nested(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_outer_lock().with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.server().restart();
    let restored = || async { !trial.server().holders(MUTEX).await.is_empty() };
    clock::until("the lock is restored", LEASE, restored).await?;
    ensure!(trial.server().holders(OUTER).await.len() == 1, "only one of two locks was restored");
    trial.release_and_finish(worker).await
}

/// The server drains and then restarts.
async fn draining(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.server().drain();
    trial.wait_and_check_request_rate(LEASE / 2).await?;
    trial.server().restart();
    check_restored(trial, worker).await
}

/// The server restarts, and refuses connections for a while.
async fn restart_with_outage(mut trial: Trial) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.refuse_connections().await;
    trial.server().restart();
    wait(LEASE / 2).await;
    trial.proxy.accept_connections()?;
    check_restored(trial, worker).await
}

async fn check_restored(trial: Trial, worker: WorkerProcess) -> anyhow::Result<()> {
    let is_restored = || async { !trial.server().holders(MUTEX).await.is_empty() };
    clock::until("the lock is restored", LEASE, is_restored).await?;
    let next = trial.server().start_rival(MUTEX).await?;
    check_kept(trial, worker, next).await
}

/// Long enough for a failed heartbeat to be repeated in time.
const LEASE: Duration = Duration::from_secs(4);

const KEPT: &str = "stays held; nothing is left";

const RESTORED: &str = "restored; a rival does not get it";

const LOST: &str = "lost before a rival gets it";

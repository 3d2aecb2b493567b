//! Faults while a worker releases the mutex.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Phase, Scenario, Trial,
    trial::{MUTEX, RECOVERY_TIME, SOON, check_released, page, seconds, wait},
};
use crate::{
    proxy::{Fault, RequestKind, Rule},
    worker_outcome::OutcomeKind,
    worker_process::WorkerProcess,
};

const PHASE: Phase = Phase::Releasing;

pub(super) fn scenarios() -> Vec<Scenario> {
    let short = Duration::from_millis(500);
    let ending = [RequestKind::Release, RequestKind::RemovePeer];
    let mut scenarios = vec![
        PHASE.scenario("the request is lost", FREE, |trial| fault_once(trial, Fault::CutRequest)),
        PHASE.scenario("the answer is lost", FREE, |trial| fault_once(trial, Fault::CutAnswer)),
        PHASE.scenario("the request is late", FREE, move |trial| {
            fault_once(trial, Fault::DelayRequest(short))
        }),
        PHASE.scenario("the request comes twice", FREE, move |trial| {
            fault_once(trial, Fault::Duplicate(short))
        }),
        PHASE.scenario("redirect 308", FREE, |trial| fault_once(trial, page(308))),
    ];
    for status in [404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for 3 s");
        let fault_of = move || Rule::always(page(status)).on(&ending);
        scenarios.push(
            PHASE.scenario(fault, FREE, move |trial| releases_after_fault(trial, fault_of())),
        );
    }
    scenarios.extend([
        PHASE.scenario("connection refused for 3 s", FREE, refused_for_a_while),
        PHASE.scenario(
            "connection refused",
            "ends with the lease at the latest; free then",
            refused,
        ),
        PHASE.scenario("no answer", "ends with the lease at the latest; free then", silence),
    ]);
    scenarios
}

/// The first request of the release meets the fault.
async fn fault_once(trial: Trial, fault: Fault) -> anyhow::Result<()> {
    let worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::once(fault).on(&[RequestKind::Release, RequestKind::RemovePeer]));
    let next = trial.server().start_rival(MUTEX).await?;
    trial.hand_over(worker, next).await?;
    ensure!(trial.proxy.faults() == 1, "no request met the fault");
    Ok(())
}

/// All requests of the release meet the fault for a while. The lock is free soon after.
async fn releases_after_fault(trial: Trial, rule: Rule) -> anyhow::Result<()> {
    let mut worker = trial.start_holder().await?;
    trial.proxy.inject(rule);
    let mut next = trial.server().start_rival(MUTEX).await?;
    let (outcome, granted) = tokio::join!(worker.release(seconds(3) + RECOVERY_TIME), async {
        trial.wait_and_check_request_rate(seconds(3)).await?;
        trial.proxy.clear();
        next.wait_for_lock(RECOVERY_TIME).await
    });
    let (outcome, _) = (outcome?, granted?);
    check_released(&outcome)?;
    next.remove().await?;
    trial.check_nothing_left(worker, RECOVERY_TIME).await
}

async fn refused_for_a_while(mut trial: Trial) -> anyhow::Result<()> {
    let mut worker = trial.start_holder().await?;
    let mut next = trial.server().start_rival(MUTEX).await?;
    trial.proxy.refuse_connections().await;
    let (outcome, granted) = tokio::join!(worker.release(seconds(3) + RECOVERY_TIME), async {
        wait(seconds(3)).await;
        trial.proxy.accept_connections()?;
        next.wait_for_lock(RECOVERY_TIME).await
    });
    let (outcome, _) = (outcome?, granted?);
    check_released(&outcome)?;
    next.remove().await?;
    trial.check_nothing_left(worker, RECOVERY_TIME).await
}

async fn refused(mut trial: Trial) -> anyhow::Result<()> {
    trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.refuse_connections().await;
    check_unreleased(trial, worker).await
}

async fn silence(trial: Trial) -> anyhow::Result<()> {
    let trial = trial.with_lease(LEASE);
    let worker = trial.start_holder().await?;
    trial.proxy.inject(Rule::always(Fault::Silence));
    check_unreleased(trial, worker).await
}

/// No release gets through, so the lock is free when the lease ends. The work was done under the lock, so
/// several kinds of outcomes are right.
async fn check_unreleased(trial: Trial, mut worker: WorkerProcess) -> anyhow::Result<()> {
    let mut next = trial.server().start_rival(MUTEX).await?;
    let outcome = worker.release(LEASE + SOON).await?;
    let is_known = matches!(
        outcome.kind,
        OutcomeKind::Lost | OutcomeKind::Released | OutcomeKind::Unreachable
    );
    ensure!(is_known, "unexpected outcome of a release: {outcome}");
    next.wait_for_lock(LEASE + SOON).await?;
    next.remove().await?;
    trial.check_nothing_left(worker, SOON).await
}

const FREE: &str = "released; free soon after";

/// Short, because some scenarios wait for its end.
const LEASE: Duration = Duration::from_secs(4);

//! Faults that meet somebody who gives the mutex back.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Case, Phase, Row,
    case::{MUTEX, NOTICED, SOON, page, pass, released, seconds},
};
use crate::{
    outcome::End,
    proxy::{Fault, Kind, Rule},
    worker::Worker,
};

pub(super) fn rows() -> Vec<Row> {
    let short = Duration::from_millis(500);
    let ending = [Kind::Release, Kind::RemovePeer];
    let mut rows = vec![
        row("the request is lost", FREE, |case| once(case, Fault::CutRequest)),
        row("the answer is lost", FREE, |case| once(case, Fault::CutAnswer)),
        row("the request is late", FREE, move |case| once(case, Fault::DelayRequest(short))),
        row("the request comes twice", FREE, move |case| once(case, Fault::Duplicate(short))),
        row("redirect 308", FREE, |case| once(case, page(308))),
    ];
    for status in [404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for 3 s");
        let fault_of = move || Rule::always(page(status)).on(&ending);
        rows.push(row(fault, FREE, move |case| outlives(case, fault_of())));
    }
    rows.extend([
        row("connection refused for 3 s", FREE, refused_for_a_while),
        row("connection refused", "ends with the lease at the latest; free then", refused),
        row("no answer", "ends with the lease at the latest; free then", silence),
    ]);
    rows
}

fn row<F>(
    fault: impl Into<String>,
    right: &'static str,
    script: impl Fn(Case) -> F + Send + Sync + 'static,
) -> Row
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    Row::new(Phase::Releasing, fault, right, script)
}

/// A fault meets the first request that gives something back.
async fn once(case: Case, fault: Fault) -> anyhow::Result<()> {
    let worker = case.holder().await?;
    case.proxy.inject(Rule::once(fault).on(&[Kind::Release, Kind::RemovePeer]));
    let next = case.server().rival(MUTEX).await?;
    case.hand_over(worker, next).await?;
    ensure!(case.proxy.faults() == 1, "the fault has met nobody");
    Ok(())
}

/// A fault meets all of them for a while. The lock is free soon after.
async fn outlives(case: Case, rule: Rule) -> anyhow::Result<()> {
    let mut worker = case.holder().await?;
    case.proxy.inject(rule);
    let mut next = case.server().rival(MUTEX).await?;
    let (outcome, granted) = tokio::join!(worker.release(seconds(3) + NOTICED), async {
        case.calmly(seconds(3)).await?;
        case.proxy.clear();
        next.held(NOTICED).await
    });
    let (outcome, _) = (outcome?, granted?);
    released(&outcome)?;
    next.leave().await?;
    case.leaves_nothing(worker, NOTICED).await
}

async fn refused_for_a_while(mut case: Case) -> anyhow::Result<()> {
    let mut worker = case.holder().await?;
    let mut next = case.server().rival(MUTEX).await?;
    case.proxy.die().await;
    let (outcome, granted) = tokio::join!(worker.release(seconds(3) + NOTICED), async {
        pass(seconds(3)).await;
        case.proxy.revive()?;
        next.held(NOTICED).await
    });
    let (outcome, _) = (outcome?, granted?);
    released(&outcome)?;
    next.leave().await?;
    case.leaves_nothing(worker, NOTICED).await
}

async fn refused(mut case: Case) -> anyhow::Result<()> {
    case = case.lease(LEASE);
    let worker = case.holder().await?;
    case.proxy.die().await;
    bounded(case, worker).await
}

async fn silence(case: Case) -> anyhow::Result<()> {
    let case = case.lease(LEASE);
    let worker = case.holder().await?;
    case.proxy.inject(Rule::always(Fault::Silence));
    bounded(case, worker).await
}

/// Nobody can be told, so the lease frees the lock. The work was done under it, whatever the end says:
/// that nobody heard of it is all there is to tell.
async fn bounded(case: Case, mut worker: Worker) -> anyhow::Result<()> {
    let mut next = case.server().rival(MUTEX).await?;
    let outcome = worker.release(LEASE + SOON).await?;
    let is_known = matches!(outcome.end, End::Lost | End::Released | End::Unreachable);
    ensure!(is_known, "it should end as a release does, but: {outcome}");
    next.held(LEASE + SOON).await?;
    next.leave().await?;
    case.leaves_nothing(worker, SOON).await
}

const FREE: &str = "released; free soon after";

/// Short, because it is waited for.
const LEASE: Duration = Duration::from_secs(4);

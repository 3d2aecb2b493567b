//! Faults that meet somebody who holds the mutex.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Case, Phase, Row,
    case::{MUTEX, OUTER, PIPE, SOON, TOLERANCE, in_time, is, page, pass, seconds},
};
use crate::{
    clock,
    outcome::End,
    proxy::{Fault, Kind, Rule},
    server::Rival,
    worker::Worker,
};

pub(super) fn rows() -> Vec<Row> {
    let late = Duration::from_millis(500);
    let mut rows = vec![row("nothing, for two leases", KEPT, undisturbed)];
    for status in [404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for half a lease");
        rows.push(row(fault, KEPT, move |case| outlives(case, page(status))));
    }
    rows.extend([
        row("no answer for half a lease", KEPT, |case| outlives(case, Fault::Silence)),
        row("requests are lost for half a lease", KEPT, |case| outlives(case, Fault::CutRequest)),
        row("connection refused for half a lease", KEPT, refused_for_a_while),
        row("the first of two URLs refuses from then on", KEPT, first_url_refuses),
        row("redirect 307 for two leases", KEPT, |case| lives_with(case, page(307))),
        row("redirect 308 for two leases", KEPT, |case| lives_with(case, page(308))),
        row("requests are late for two leases", KEPT, move |case| {
            lives_with(case, Fault::DelayRequest(late))
        }),
        row("answers are late for two leases", KEPT, move |case| {
            lives_with(case, Fault::DelayAnswer(late))
        }),
        row("requests come twice for two leases", KEPT, move |case| {
            lives_with(case, Fault::Duplicate(late))
        }),
        row("no answer for a whole lease", LOST, |case| loses(case, Fault::Silence)),
        row("502 with a page for a whole lease", LOST, |case| loses(case, page(502))),
        row("requests are lost for a whole lease", LOST, |case| loses(case, Fault::CutRequest)),
        row("answers are lost for a whole lease", LOST, |case| loses(case, Fault::CutAnswer)),
        row("connection refused for a whole lease", LOST, refused),
        row("an operator removes the peer", "lost with the next heartbeat", removed),
        row("an operator removes the peer, noticed at the end", "lost", removed_unnoticed),
        row("the server drains for half a lease, then restarts", RESTORED, draining),
        row("the server restarts", RESTORED, |case| restart(case, Fault::CutAnswer)),
        row("the server restarts, the restore is lost", RESTORED, |case| {
            restart(case, Fault::CutRequest)
        }),
        row("the server restarts, the restore meets 502", RESTORED, |case| {
            restart(case, page(502))
        }),
        row("the server restarts, the restore comes twice", RESTORED, move |case| {
            restart(case, Fault::Duplicate(late))
        }),
        row("the server restarts, two locks are held", RESTORED, restart_nested),
        row("the server restarts and is away for half a lease", RESTORED, away),
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
    Row::new(Phase::Holding, fault, right, script)
}

async fn undisturbed(case: Case) -> anyhow::Result<()> {
    let case = case.lease(LEASE);
    let worker = case.holder().await?;
    let next = case.server().rival(MUTEX).await?;
    stays(case, worker, next).await
}

/// A fault meets every request for half a lease. The worker is still in when two leases are over.
async fn outlives(mut case: Case, fault: Fault) -> anyhow::Result<()> {
    case = case.lease(LEASE);
    let worker = case.holder().await?;
    case.proxy.inject(Rule::always(fault));
    case.proxy.cut_connections().await?;
    let next = case.server().rival(MUTEX).await?;
    case.calmly(LEASE / 2).await?;
    case.proxy.clear();
    stays(case, worker, next).await
}

/// A fault meets every sign of life, and none of them keeps it from being one.
async fn lives_with(mut case: Case, fault: Fault) -> anyhow::Result<()> {
    case = case.lease(LEASE);
    let worker = case.holder().await?;
    case.proxy.inject(Rule::always(fault));
    case.proxy.cut_connections().await?;
    let next = case.server().rival(MUTEX).await?;
    pass(LEASE * 2).await;
    ensure!(case.proxy.faults() > 1, "the fault has met nobody");
    ensure!(!next.is_answered(), "somebody else was let in while it held the lock");
    case.proxy.clear();
    case.hand_over(worker, next).await
}

async fn refused_for_a_while(mut case: Case) -> anyhow::Result<()> {
    case = case.lease(LEASE);
    let worker = case.holder().await?;
    case.proxy.die().await;
    let next = case.server().rival(MUTEX).await?;
    pass(LEASE / 2).await;
    case.proxy.revive()?;
    stays(case, worker, next).await
}

async fn first_url_refuses(case: Case) -> anyhow::Result<()> {
    let mut case = case.two_urls().lease(LEASE);
    let worker = case.holder().await?;
    case.proxy.die().await;
    let next = case.server().rival(MUTEX).await?;
    stays(case, worker, next).await
}

/// Nobody else is let in until the worker is out.
async fn stays(case: Case, worker: Worker, next: Rival) -> anyhow::Result<()> {
    pass(LEASE + LEASE / 2).await;
    ensure!(!next.is_answered(), "somebody else was let in while it held the lock");
    case.hand_over(worker, next).await
}

/// No sign of life gets through. The worker knows of its loss before anybody else is let in.
async fn loses(case: Case, fault: Fault) -> anyhow::Result<()> {
    let case = case.lease(LEASE);
    let mut worker = case.holder().await?;
    case.proxy.inject(Rule::always(fault));
    knows(case, &mut worker).await
}

async fn refused(mut case: Case) -> anyhow::Result<()> {
    case = case.lease(LEASE);
    let mut worker = case.holder().await?;
    case.proxy.die().await;
    knows(case, &mut worker).await
}

async fn knows(case: Case, worker: &mut Worker) -> anyhow::Result<()> {
    let start = clock::now();
    let mut next = case.server().rival(MUTEX).await?;
    // The server may have got a last sign of life that nobody was told of.
    let granted = next.held(LEASE * 2 + SOON);
    let (noticed, granted) = tokio::join!(worker.lost(LEASE + SOON), granted);
    let (noticed, granted) = (noticed?, granted?);
    in_time("it notices the loss", start, noticed, LEASE + TOLERANCE)?;
    in_time("it notices the loss before somebody else is in", granted, noticed, PIPE)?;
    next.leave().await
}

/// The peer is removed, and somebody else is in. The next heartbeat tells.
async fn removed(case: Case) -> anyhow::Result<()> {
    let case = case.lease(LEASE);
    let mut worker = case.holder().await?;
    case.server().remove_holders(MUTEX).await?;
    worker.lost(LEASE / 2 + TOLERANCE).await?;
    case.leaves_nothing(worker, SOON).await
}

/// The same before a heartbeat is due: what tells is that the server knows nothing to give back.
async fn removed_unnoticed(case: Case) -> anyhow::Result<()> {
    let case = case.lease(seconds(60));
    let mut worker = case.holder().await?;
    case.server().remove_holders(MUTEX).await?;
    let mut next = case.server().rival(MUTEX).await?;
    next.held(SOON).await?;
    let outcome = worker.release(SOON).await?;
    is(&outcome, End::Lost)?;
    next.leave().await?;
    case.leaves_nothing(worker, SOON).await
}

/// The server forgets everybody. The worker tells it what it holds before somebody asks for it, whatever
/// meets the first attempt to tell it.
async fn restart(case: Case, fault: Fault) -> anyhow::Result<()> {
    let case = case.lease(LEASE);
    let worker = case.holder().await?;
    case.proxy.inject(Rule::once(fault).on(&[Kind::Restore]));
    case.server().restart();
    restored(case, worker).await
}

/// The same with two locks, one within the other.
async fn restart_nested(case: Case) -> anyhow::Result<()> {
    let case = case.nested().lease(LEASE);
    let worker = case.holder().await?;
    case.server().restart();
    let restored = || !case.server().holders(MUTEX).is_empty();
    clock::until("it is restored", LEASE, restored).await?;
    ensure!(case.server().holders(OUTER).len() == 1, "only one of two locks was restored");
    case.finish(worker).await
}

/// The server is going to end, and says so to everybody.
async fn draining(case: Case) -> anyhow::Result<()> {
    let case = case.lease(LEASE);
    let worker = case.holder().await?;
    case.server().drain();
    case.calmly(LEASE / 2).await?;
    case.server().restart();
    restored(case, worker).await
}

/// The same while nobody listens for a while.
async fn away(mut case: Case) -> anyhow::Result<()> {
    case = case.lease(LEASE);
    let worker = case.holder().await?;
    case.proxy.die().await;
    case.server().restart();
    pass(LEASE / 2).await;
    case.proxy.revive()?;
    restored(case, worker).await
}

async fn restored(case: Case, worker: Worker) -> anyhow::Result<()> {
    let is_restored = || !case.server().holders(MUTEX).is_empty();
    clock::until("it is restored", LEASE, is_restored).await?;
    let next = case.server().rival(MUTEX).await?;
    stays(case, worker, next).await
}

/// Long enough for a heartbeat to fail and to be repeated.
const LEASE: Duration = Duration::from_secs(4);

const KEPT: &str = "stays in; nothing is left";

const RESTORED: &str = "restored: nobody else gets in";

const LOST: &str = "lost before somebody else gets in";

//! Faults that meet somebody who waits while somebody else has the mutex.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Case, Phase, Row,
    case::{MUTEX, NOTICED, OUTER, SOON, START, TOLERANCE, ends, is, page, pass, seconds},
};
use crate::{
    clock,
    form::Form,
    outcome::End,
    proxy::{Fault, Kind, Rule},
    server::Rival,
    worker::Worker,
};

pub(super) fn rows() -> Vec<Row> {
    let kept = "held after the holder, place kept";
    let mut rows = vec![
        row(
            "nothing, for two leases",
            "held after the holder, and stays so",
            longer_than_the_lease,
        ),
        row("connections break", kept, |case| outlives(case, None, Duration::ZERO)),
        row("no answer for 4 s", kept, |case| outlives(case, Some(Fault::Silence), seconds(4))),
        row("connection refused for 4 s", kept, refused_for_a_while),
        row("the first of two URLs refuses from then on", kept, first_url_refuses),
    ];
    for status in [307, 404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for 6 s");
        let page = Some(page(status));
        rows.push(row(fault, kept, move |case| outlives(case, page, seconds(6))));
    }
    rows.extend([
        row("the answer of the grant is lost", "held soon", grant_is_lost),
        row("requests come twice, the second late", "nothing is left", duplicates),
        row("not free in time", "timeout in time; nothing is left", timeout),
        row("not free, does not wait", "timeout soon; nothing is left", no_wait),
        row("silence until the time is over", "unreachable in time", silence),
        row("the request is later than the wait", "nothing is left", late_request),
        row("an operator removes the peer", "lost soon", removed),
        row("the server drains for 3 s, then restarts", "held after whoever came first", draining),
        row("the server restarts", "held after whoever came first", restart),
        row(
            "a grant is later than a restart and a restore",
            "not held while somebody else is in",
            late_grant_within,
        ),
        row("a grant is later than a restart", "not held while somebody else is in", late_grant),
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
    Row::new(Phase::Waiting, fault, right, script)
}

async fn longer_than_the_lease(case: Case) -> anyhow::Result<()> {
    let lease = seconds(2);
    let case = case.lease(lease);
    let (rival, mut worker) = case.waiter(Some(seconds(20))).await?;
    pass(lease * 2).await;
    rival.leave().await?;
    worker.held(SOON).await?;
    let next = case.server().rival(MUTEX).await?;
    pass(lease * 2).await;
    ensure!(!next.is_answered(), "somebody else was let in while it held the lock");
    case.hand_over(worker, next).await
}

/// All connections break, and a fault meets every request for a while. The worker keeps its place before
/// somebody who comes then.
async fn outlives(mut case: Case, fault: Option<Fault>, span: Duration) -> anyhow::Result<()> {
    let (holder, worker) = case.waiter(Some(seconds(40))).await?;
    if let Some(fault) = fault {
        case.proxy.inject(Rule::always(fault));
    }
    case.proxy.cut_connections().await?;
    let next = case.server().rival(MUTEX).await?;
    case.calmly(span).await?;
    case.proxy.clear();
    goes_first(case, holder, worker, next).await
}

async fn refused_for_a_while(mut case: Case) -> anyhow::Result<()> {
    let (holder, worker) = case.waiter(Some(seconds(40))).await?;
    case.proxy.die().await;
    let next = case.server().rival(MUTEX).await?;
    pass(seconds(4)).await;
    case.proxy.revive()?;
    goes_first(case, holder, worker, next).await
}

async fn first_url_refuses(case: Case) -> anyhow::Result<()> {
    let mut case = case.two_urls();
    let (holder, worker) = case.waiter(Some(seconds(40))).await?;
    case.proxy.die().await;
    let next = case.server().rival(MUTEX).await?;
    goes_first(case, holder, worker, next).await
}

/// The worker is let in before somebody who came after it.
async fn goes_first(
    case: Case,
    holder: Rival,
    mut worker: Worker,
    next: Rival,
) -> anyhow::Result<()> {
    let is_back = || case.server().parked(MUTEX) == 0;
    clock::until("it is back in its place", NOTICED, is_back).await?;
    holder.leave().await?;
    worker.held(SOON).await?;
    ensure!(!next.is_answered(), "somebody who came later was let in at the same time");
    case.hand_over(worker, next).await
}

async fn grant_is_lost(case: Case) -> anyhow::Result<()> {
    case.proxy.inject(Rule::once(Fault::CutAnswer).on(&[Kind::Acquire]));
    let (holder, mut worker) = case.waiter(Some(seconds(20))).await?;
    holder.leave().await?;
    worker.held(SOON).await?;
    case.finish(worker).await
}

/// Copies of all requests arrive when the worker is long gone.
async fn duplicates(case: Case) -> anyhow::Result<()> {
    let late = seconds(3);
    case.proxy.inject(Rule::always(Fault::Duplicate(late)).on(&[
        Kind::Acquire,
        Kind::Heartbeat,
        Kind::Release,
        Kind::Restore,
        Kind::RemovePeer,
    ]));
    let (holder, mut worker) = case.waiter(Some(seconds(20))).await?;
    holder.leave().await?;
    worker.held(SOON).await?;
    case.finish(worker).await?;
    pass(late + Duration::from_millis(500)).await;
    ensure!(case.server().peers() == 0, "a late copy has brought a peer back");
    Ok(())
}

async fn timeout(case: Case) -> anyhow::Result<()> {
    let wait = seconds(2);
    let (holder, mut worker) = case.waiter(Some(wait)).await?;
    ends(&mut worker, End::Timeout, wait, wait + TOLERANCE).await?;
    holder.leave().await?;
    case.leaves_nothing(worker, SOON).await
}

async fn no_wait(case: Case) -> anyhow::Result<()> {
    let holder = case.server().rival(MUTEX).await?;
    let mut worker = case.worker(Some(Duration::ZERO))?;
    ends(&mut worker, End::Timeout, Duration::ZERO, SOON).await?;
    holder.leave().await?;
    case.leaves_nothing(worker, SOON).await
}

/// The last attempt gets no answer, so nobody knows whether the lock is free.
async fn silence(mut case: Case) -> anyhow::Result<()> {
    let wait = seconds(4);
    let (holder, mut worker) = case.waiter(Some(wait)).await?;
    case.proxy.inject(Rule::always(Fault::Silence));
    case.proxy.cut_connections().await?;
    ends(&mut worker, End::Unreachable, wait, wait + case.delay()).await?;
    holder.leave().await?;
    case.proxy.clear();
    // What could not be told is over with the lease, or earlier with the place of a broken connection.
    case.leaves_nothing(worker, seconds(12)).await
}

/// What asks for the lock arrives when its sender has given up. Nobody may be granted it then.
async fn late_request(case: Case) -> anyhow::Result<()> {
    let late = seconds(3);
    case.proxy.inject(Rule::always(Fault::DelayRequest(late)).on(&[Kind::Acquire]));
    let holder = case.server().rival(MUTEX).await?;
    let mut worker = case.worker(Some(seconds(1)))?;
    let (_, outcome) = worker.ended(START).await?;
    is(&outcome, End::Unreachable)?;
    worker.exit(SOON).await?;
    pass(late).await;
    holder.leave().await?;
    let server = case.server();
    ensure!(server.holders(MUTEX).is_empty(), "the lock was granted to somebody who is gone");
    let what = "the peer whose request was late is gone";
    clock::until(what, SOON, || server.peers() == 0).await
}

/// Whoever is taken out of the queue does not come back. That nothing was held yet is what the status of
/// `throttlectl` tells: there was no command that could have ended.
async fn removed(case: Case) -> anyhow::Result<()> {
    let case = case.lease(seconds(3));
    let (holder, mut worker) = case.waiter(Some(seconds(20))).await?;
    case.server().remove_waiters(MUTEX).await?;
    let (_, outcome) = worker.ended(SOON).await?;
    is(&outcome, if case.form() == Form::Throttlectl { End::Timeout } else { End::Lost })?;
    holder.leave().await?;
    case.leaves_nothing(worker, SOON).await
}

/// The server is going to end, and says so to everybody.
async fn draining(case: Case) -> anyhow::Result<()> {
    let (_, worker) = case.waiter(Some(seconds(30))).await?;
    case.server().drain();
    case.calmly(seconds(3)).await?;
    comes_second(case, worker).await
}

/// The server forgets everybody, and somebody else comes first.
async fn restart(case: Case) -> anyhow::Result<()> {
    let (_, worker) = case.waiter(Some(seconds(30))).await?;
    comes_second(case, worker).await
}

async fn comes_second(case: Case, mut worker: Worker) -> anyhow::Result<()> {
    case.proxy.inject(Rule::always(page(503)));
    case.server().restart();
    let holder = case.server().rival(MUTEX).await?;
    pass(seconds(1)).await;
    case.proxy.clear();
    let waits = || case.server().waiters(MUTEX) == 1;
    clock::until("it waits again", START, waits).await?;
    holder.leave().await?;
    worker.held(SOON).await?;
    case.finish(worker).await
}

/// The answer of a grant is under way while the server restarts and somebody else is let in. Either the
/// worker finds out, or it waits until the other one is out again.
async fn late_grant(case: Case) -> anyhow::Result<()> {
    let late = seconds(4);
    // Its life is renewed while the answer is under way, so it finds out that it is forgotten.
    let case = case.lease(seconds(3));
    case.proxy.inject(Rule::once(Fault::DelayAnswer(late)).on(&[Kind::Acquire]));
    let mut worker = case.worker(Some(seconds(30)))?;
    let granted = || case.server().holders(MUTEX).len() == 1;
    clock::until("the lock is granted", START, granted).await?;
    case.server().restart();
    let rival = case.server().rival(MUTEX).await?;
    let early = worker.held(late + seconds(2)).await;
    ensure!(early.is_err(), "it holds the lock, and so does somebody else");
    rival.leave().await?;
    worker.held(NOTICED + SOON).await?;
    case.finish(worker).await
}

/// The same while the worker holds another lock: its next sign of life tells it that it is forgotten, and
/// it restores that lock. What was granted before does not count then.
async fn late_grant_within(case: Case) -> anyhow::Result<()> {
    // Signs of life come every two seconds, so some are in time.
    let case = case.nested().lease(seconds(6));
    // Behind the request for the other lock.
    let inner = Rule::once(Fault::DelayAnswer(seconds(5))).on(&[Kind::Acquire]).skip(1);
    case.proxy.inject(inner);
    let mut worker = case.worker(Some(seconds(30)))?;
    let granted = || case.server().holders(MUTEX).len() == 1;
    clock::until("the lock is granted", START, granted).await?;
    case.server().restart();
    let rival = case.server().rival(MUTEX).await?;
    let early = worker.held(seconds(7)).await;
    ensure!(early.is_err(), "it holds the lock, and so does somebody else");
    ensure!(case.server().holders(OUTER).len() == 1, "the other lock was not restored");
    rival.leave().await?;
    worker.held(NOTICED + SOON).await?;
    case.finish(worker).await
}

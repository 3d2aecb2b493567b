//! Faults that meet a newcomer. The semaphore is free all the time.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Case, Phase, Row,
    case::{NOTICED, SOON, START, ends, page, pass, released, seconds},
};
use crate::{
    clock,
    outcome::End,
    proxy::{Fault, Kind, Rule},
};

pub(super) fn rows() -> Vec<Row> {
    let short = Duration::from_millis(500);
    let mut rows = vec![row("nothing", "held; nothing is left", undisturbed)];
    for status in [404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for 4 s");
        rows.push(row(fault, HELD, move |case| outlives(case, page(status), seconds(4))));
    }
    rows.extend([
        row("no answer for 4 s", HELD, |case| outlives(case, Fault::Silence, seconds(4))),
        row("the server drains for 3 s, then restarts", HELD, draining),
        row("connection refused for 8 s", HELD, refused_for_a_while),
        row("the first of two URLs refuses", "held; nothing is left", first_url_refuses),
        row("the request is lost", "held soon", |case| once(case, Fault::CutRequest)),
        row("the answer is lost", "held soon", |case| once(case, Fault::CutAnswer)),
        row("the request is late", "held soon", move |case| once(case, Fault::DelayRequest(short))),
        row("the request comes twice", "held soon", move |case| {
            once(case, Fault::Duplicate(short))
        }),
        row("redirect 307", "held soon", |case| follows(case, 307)),
        row("redirect 308", "held soon", |case| follows(case, 308)),
    ]);
    for status in [301, 302, 401, 403] {
        let fault = format!("{status} with a page");
        let right = "unreachable soon, names status and location";
        rows.push(row(fault, right, move |case| gives_up(case, status)));
    }
    rows.extend([
        row("refused, waits 2 s", "unreachable after 2 s", |case| refused(case, Some(seconds(2)))),
        row("refused, does not wait", "unreachable within 5 s", |case| refused(case, None)),
        row("silence, waits 2 s", "unreachable after 2 s", |case| silence(case, Some(seconds(2)))),
        row("silence, does not wait", "unreachable within 5 s", |case| silence(case, None)),
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
    Row::new(Phase::Creating, fault, right, script)
}

async fn undisturbed(case: Case) -> anyhow::Result<()> {
    let worker = case.holder().await?;
    case.finish(worker).await
}

/// A fault meets every request for a while. The worker gets its lock when it is over.
async fn outlives(case: Case, fault: Fault, span: Duration) -> anyhow::Result<()> {
    case.proxy.inject(Rule::always(fault));
    let mut worker = case.worker(Some(seconds(20)))?;
    clock::until("a request comes", START, || case.proxy.faults() > 0).await?;
    case.calmly(span).await?;
    case.proxy.clear();
    worker.held(NOTICED).await?;
    case.finish(worker).await
}

/// The server is going to end, and says so to everybody.
async fn draining(case: Case) -> anyhow::Result<()> {
    case.server().drain();
    let mut worker = case.worker(Some(seconds(20)))?;
    clock::until("a request comes", START, || case.proxy.requests() > 0).await?;
    case.calmly(seconds(3)).await?;
    case.server().restart();
    worker.held(NOTICED).await?;
    case.finish(worker).await
}

/// Nobody listens for longer than any client retries by itself, and the worker has no limit.
async fn refused_for_a_while(mut case: Case) -> anyhow::Result<()> {
    case.proxy.die().await;
    let mut worker = case.worker(None)?;
    pass(seconds(8)).await;
    case.proxy.revive()?;
    worker.held(START).await?;
    case.finish(worker).await
}

/// Nobody listens at one of two addresses.
async fn first_url_refuses(case: Case) -> anyhow::Result<()> {
    let mut case = case.two_urls();
    case.proxy.die().await;
    let worker = case.holder().await?;
    case.finish(worker).await
}

/// A fault meets the request for a new peer, which may leave one behind until its lease ends.
async fn once(case: Case, fault: Fault) -> anyhow::Result<()> {
    let lease = seconds(3);
    let case = case.lease(lease);
    case.proxy.inject(Rule::once(fault).on(&[Kind::NewPeer]));
    let mut worker = case.holder().await?;
    ensure!(case.proxy.faults() == 1, "the fault has met nobody");
    released(&worker.release(SOON).await?)?;
    case.leaves_nothing(worker, lease + SOON).await
}

/// Every request is sent elsewhere, where the same server answers.
async fn follows(case: Case, status: u16) -> anyhow::Result<()> {
    case.proxy.inject(Rule::always(page(status)));
    let worker = case.holder().await?;
    case.finish(worker).await
}

/// What answers will answer the same tomorrow: there is no use in waiting.
async fn gives_up(case: Case, status: u16) -> anyhow::Result<()> {
    case.proxy.inject(Rule::always(page(status)));
    let mut worker = case.worker(Some(seconds(20)))?;
    let outcome = ends(&mut worker, End::Unreachable, Duration::ZERO, SOON).await?;
    let location = case.proxy.second_url();
    let is_redirect = (300..400).contains(&status);
    ensure!(outcome.detail.contains(&status.to_string()), "it does not tell the status: {outcome}");
    ensure!(
        !is_redirect || outcome.detail.contains(&location),
        "it does not tell the location {location}: {outcome}"
    );
    case.leaves_nothing(worker, SOON).await
}

/// Nobody listens at all.
async fn refused(mut case: Case, wait: Option<Duration>) -> anyhow::Result<()> {
    case.proxy.die().await;
    unreachable(&case, wait).await
}

/// Somebody listens, and never answers.
async fn silence(case: Case, wait: Option<Duration>) -> anyhow::Result<()> {
    case.proxy.inject(Rule::always(Fault::Silence));
    unreachable(&case, wait).await
}

/// The worker ends when its time is over, or soon if it does not wait, and says what the matter is.
async fn unreachable(case: &Case, wait: Option<Duration>) -> anyhow::Result<()> {
    let mut worker = case.worker(Some(wait.unwrap_or_default()))?;
    let (after, within) = wait.map_or((Duration::ZERO, ONE_TRY), |wait| (wait, wait));
    let outcome = ends(&mut worker, End::Unreachable, after, within + case.delay()).await?;
    let url = case.proxy.url();
    ensure!(outcome.detail.contains(&url), "it does not tell the URL {url}: {outcome}");
    case.leaves_nothing(worker, SOON).await
}

const HELD: &str = "held when it is over";

/// How long the attempt of somebody who does not wait may take.
const ONE_TRY: Duration = Duration::from_secs(5);

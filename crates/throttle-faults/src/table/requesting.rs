//! Faults while a new peer requests the mutex, which is always free.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Phase, Scenario, Trial,
    trial::{RECOVERY_TIME, SOON, START_TIME, check_end, check_released, page, seconds, wait},
};
use crate::{
    clock,
    proxy::{Fault, RequestKind, Rule},
    worker_outcome::OutcomeKind,
};

const PHASE: Phase = Phase::Requesting;

pub(super) fn scenarios() -> Vec<Scenario> {
    let short = Duration::from_millis(500);
    let mut scenarios = vec![PHASE.scenario("nothing", "held; nothing is left", no_fault)];
    for status in [404, 429, 502, 503, 504] {
        let fault = format!("{status} with a page for 4 s");
        scenarios.push(PHASE.scenario(fault, HELD, move |trial| {
            waits_until_fault_ends(trial, page(status), seconds(4))
        }));
    }
    scenarios.extend([
        PHASE.scenario("no answer for 4 s", HELD, |trial| {
            waits_until_fault_ends(trial, Fault::Silence, seconds(4))
        }),
        PHASE.scenario("the server drains for 3 s, then restarts", HELD, draining),
        PHASE.scenario("connection refused for 8 s", HELD, refused_for_a_while),
        PHASE.scenario("the first of two URLs refuses", "held; nothing is left", first_url_refuses),
        PHASE.scenario("the request is lost", "held soon", |trial| {
            fault_once(trial, Fault::CutRequest)
        }),
        PHASE.scenario("the answer is lost", "held soon", |trial| {
            fault_once(trial, Fault::CutAnswer)
        }),
        PHASE.scenario("the request is late", "held soon", move |trial| {
            fault_once(trial, Fault::DelayRequest(short))
        }),
        PHASE.scenario("the request comes twice", "held soon", move |trial| {
            fault_once(trial, Fault::Duplicate(short))
        }),
        PHASE.scenario("redirect 307", "held soon", |trial| follows_redirect(trial, 307)),
        PHASE.scenario("redirect 308", "held soon", |trial| follows_redirect(trial, 308)),
    ]);
    for status in [301, 302, 401, 403] {
        let fault = format!("{status} with a page");
        let expected = "unreachable soon, names status and location";
        scenarios.push(PHASE.scenario(fault, expected, move |trial| fails_at_once(trial, status)));
    }
    scenarios.extend([
        PHASE.scenario("refused, waits 2 s", "unreachable after 2 s", |trial| {
            refused(trial, Some(seconds(2)))
        }),
        PHASE.scenario("refused, does not wait", "unreachable within 5 s", |trial| {
            refused(trial, None)
        }),
        PHASE.scenario("silence, waits 2 s", "unreachable after 2 s", |trial| {
            silence(trial, Some(seconds(2)))
        }),
        PHASE.scenario("silence, does not wait", "unreachable within 5 s", |trial| {
            silence(trial, None)
        }),
    ]);
    scenarios
}

async fn no_fault(trial: Trial) -> anyhow::Result<()> {
    let worker = trial.start_holder().await?;
    trial.release_and_finish(worker).await
}

/// Every request meets the fault for a while. The worker gets the lock after that.
async fn waits_until_fault_ends(trial: Trial, fault: Fault, span: Duration) -> anyhow::Result<()> {
    trial.proxy.inject(Rule::always(fault));
    let mut worker = trial.start_worker(Some(seconds(20)))?;
    clock::until("a request comes", START_TIME, || async { trial.proxy.faults() > 0 }).await?;
    trial.wait_and_check_request_rate(span).await?;
    trial.proxy.clear();
    worker.wait_for_lock(RECOVERY_TIME).await?;
    trial.release_and_finish(worker).await
}

/// The server drains and then restarts.
async fn draining(trial: Trial) -> anyhow::Result<()> {
    trial.server().drain();
    let mut worker = trial.start_worker(Some(seconds(20)))?;
    clock::until("a request comes", START_TIME, || async { trial.proxy.requests() > 0 }).await?;
    trial.wait_and_check_request_rate(seconds(3)).await?;
    trial.server().restart();
    worker.wait_for_lock(RECOVERY_TIME).await?;
    trial.release_and_finish(worker).await
}

/// Connections are refused for longer than one client call retries, but the worker has no time limit.
async fn refused_for_a_while(mut trial: Trial) -> anyhow::Result<()> {
    trial.proxy.refuse_connections().await;
    let mut worker = trial.start_worker(None)?;
    wait(seconds(8)).await;
    trial.proxy.accept_connections()?;
    worker.wait_for_lock(START_TIME).await?;
    trial.release_and_finish(worker).await
}

/// One of two URLs refuses connections.
async fn first_url_refuses(trial: Trial) -> anyhow::Result<()> {
    let mut trial = trial.with_two_urls();
    trial.proxy.refuse_connections().await;
    let worker = trial.start_holder().await?;
    trial.release_and_finish(worker).await
}

/// The request for a new peer meets the fault. A peer without a client may be left until its lease ends.
async fn fault_once(trial: Trial, fault: Fault) -> anyhow::Result<()> {
    let lease = seconds(3);
    let trial = trial.with_lease(lease);
    trial.proxy.inject(Rule::once(fault).on(&[RequestKind::NewPeer]));
    let mut worker = trial.start_holder().await?;
    ensure!(trial.proxy.faults() == 1, "no request met the fault");
    check_released(&worker.release(SOON).await?)?;
    trial.check_nothing_left(worker, lease + SOON).await
}

/// Every request is redirected to the URL without faults.
async fn follows_redirect(trial: Trial, status: u16) -> anyhow::Result<()> {
    trial.proxy.inject(Rule::always(page(status)));
    let worker = trial.start_holder().await?;
    trial.release_and_finish(worker).await
}

/// The answer will not change, so the worker does not wait.
async fn fails_at_once(trial: Trial, status: u16) -> anyhow::Result<()> {
    trial.proxy.inject(Rule::always(page(status)));
    let mut worker = trial.start_worker(Some(seconds(20)))?;
    let outcome = check_end(&mut worker, OutcomeKind::Unreachable, Duration::ZERO, SOON).await?;
    let location = trial.proxy.faultless_url();
    let is_redirect = (300..400).contains(&status);
    ensure!(
        outcome.detail.contains(&status.to_string()),
        "the message does not name the status: {outcome}"
    );
    ensure!(
        !is_redirect || outcome.detail.contains(&location),
        "the message does not name the location {location}: {outcome}"
    );
    trial.check_nothing_left(worker, SOON).await
}

/// Connections are refused all the time.
async fn refused(mut trial: Trial, wait: Option<Duration>) -> anyhow::Result<()> {
    trial.proxy.refuse_connections().await;
    unreachable(&trial, wait).await
}

/// Connections are accepted, but no request is answered.
async fn silence(trial: Trial, wait: Option<Duration>) -> anyhow::Result<()> {
    trial.proxy.inject(Rule::always(Fault::Silence));
    unreachable(&trial, wait).await
}

/// The worker ends after its time limit, or soon if it does not wait. Its message names the URL.
async fn unreachable(trial: &Trial, wait: Option<Duration>) -> anyhow::Result<()> {
    let mut worker = trial.start_worker(Some(wait.unwrap_or_default()))?;
    let (after, within) = wait.map_or((Duration::ZERO, ONE_TRY), |wait| (wait, wait));
    let outcome =
        check_end(&mut worker, OutcomeKind::Unreachable, after, within + trial.exit_delay())
            .await?;
    let url = trial.proxy.url();
    ensure!(outcome.detail.contains(&url), "the message does not name the URL {url}: {outcome}");
    trial.check_nothing_left(worker, SOON).await
}

const HELD: &str = "held after the fault";

/// How long the only attempt of a worker that does not wait may take.
const ONE_TRY: Duration = Duration::from_secs(5);

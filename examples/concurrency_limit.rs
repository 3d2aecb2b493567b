//! Handlers of an axum application that are limited across machines: all its instances together make two
//! reports at a time. Further requests wait, and are told to come back if it takes too long.
//!
//! Run with `cargo run -p throttle-examples --example concurrency_limit`, which brings a server of its own,
//! or against one that serves a semaphore `A`, as `configs/throttle.toml` does:
//! `cargo run -p throttle-examples --example concurrency_limit -- http://localhost:8000`.

#![expect(clippy::print_stdout, reason = "the example shows what happens")]

use std::{
    env,
    error::Error,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::ensure;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header::RETRY_AFTER},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use throttle_client::{Client, LockError};
use tower::ServiceExt as _;

mod serve;

/// The permits that a request takes.
#[derive(Clone)]
struct Limit {
    throttle: Client,
    semaphore: &'static str,
    count: u64,
    patience: Duration,
}

/// Handles a request while it holds the lock. `from_fn_with_state` makes a layer of tower of it, for a
/// whole router or for single routes.
///
/// If the client hangs up, axum drops this future: then the request leaves the queue, or the handler ends and
/// the lock is free. The lock covers the handler, not a body that it streams afterwards.
async fn limit(State(limit): State<Limit>, request: Request, next: Next) -> Response {
    let lock = limit.throttle.lock(limit.semaphore).count(limit.count);
    let lock = match lock.wait_at_most(limit.patience).await {
        Ok(lock) => lock,
        Err(LockError::NotInTime { .. }) => {
            let seconds = limit.patience.as_secs().max(1).to_string();
            return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, seconds)]).into_response();
        }
        // What went wrong is for the log, not for whoever asked.
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "no lock");
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    // Dropped, the lock is given back in the background: the answer does not wait for it. Who must know whether it
    // was held to the end awaits `lock.release()`.
    match lock.run(next.run(request)).await {
        Ok(response) => response,
        Err(lost) => {
            tracing::error!(%lost, "the lock was lost, and the handler ended");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// One instance of the application. On another machine it would look the same.
fn application(limited: Limit) -> Router {
    let limited = middleware::from_fn_with_state(limited, limit);
    Router::new().route("/report", get(report)).layer(limited)
}

async fn report() -> &'static str {
    let at_work = AT_WORK.fetch_add(1, Ordering::SeqCst) + 1;
    MOST_AT_WORK.fetch_max(at_work, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(50)).await;
    AT_WORK.fetch_sub(1, Ordering::SeqCst);
    "a report"
}

static AT_WORK: AtomicUsize = AtomicUsize::new(0);
static MOST_AT_WORK: AtomicUsize = AtomicUsize::new(0);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = match env::args().nth(1) {
        Some(url) => url,
        None => serve::semaphores(&[("A", 42, 0)]).await?,
    };
    let throttle = Client::new(&url)?;
    // There are 42, so two fit.
    let (semaphore, count) = ("A", 21);
    let instance =
        |patience| application(Limit { throttle: throttle.clone(), semaphore, count, patience });
    let ask = async |application: Router| {
        let request = Request::get("/report").body(Body::empty()).expect("a request");
        let Ok(response) = application.oneshot(request).await;
        response
    };

    let patient = [(); 2].map(|()| instance(Duration::from_secs(10)));
    let mut requests = tokio::task::JoinSet::new();
    for application in patient.iter().cycle().take(6).cloned() {
        requests.spawn(async move { ask(application).await.status() });
    }
    let statuses = requests.join_all().await;
    let most = MOST_AT_WORK.load(Ordering::SeqCst);
    println!("six requests to two instances: {statuses:?}, at most {most} at a time");
    ensure!(statuses.iter().all(StatusCode::is_success), "everybody was patient");
    ensure!(most <= 2, "more at a time than there is room for");

    // Somebody has all of it.
    let all = throttle.lock(semaphore).count(42).await?;
    let response = ask(instance(Duration::from_millis(100))).await;
    println!("while there is no room: {}, {:?}", response.status(), response.headers());
    ensure!(response.headers().contains_key(RETRY_AFTER), "it is told to come back");
    all.release().await?;
    Ok(())
}

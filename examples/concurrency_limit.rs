//! A concurrency limit for the handlers of an axum application, across machines: all its instances together
//! make two reports at a time. Further requests wait, and are answered 503 with `Retry-After` if that takes
//! too long.
//!
//! Run with `cargo run -p throttle-examples --example concurrency_limit`, which starts its own server. To use
//! a running server with a semaphore `A`, such as one with `configs/throttle.toml`:
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

/// The lock that a request needs, and how long it waits for the lock.
#[derive(Clone)]
struct Limit {
    throttle: Client,
    semaphore: &'static str,
    count: u64,
    max_wait: Duration,
}

/// Runs the handler of a request while it holds the lock. `from_fn_with_state` turns this function into a
/// tower layer, for a whole router or for single routes.
///
/// If the client hangs up, axum drops this future. The request then leaves the queue, or the handler ends and
/// the lock is released. The lock covers the handler, but not a body that is streamed after it.
async fn limit(State(limit): State<Limit>, request: Request, next: Next) -> Response {
    let lock = limit.throttle.lock(limit.semaphore).count(limit.count);
    let lock = match lock.wait_at_most(limit.max_wait).await {
        Ok(lock) => lock,
        Err(LockError::NotInTime { .. }) => {
            let seconds = limit.max_wait.as_secs().max(1).to_string();
            return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, seconds)]).into_response();
        }
        // The cause is logged, but not shown to the client of this application.
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "no lock");
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    // Dropping the lock releases it in the background, so the response does not wait for that. To find out
    // whether the lock was held until the end, await `lock.release()`.
    match lock.run(next.run(request)).await {
        Ok(response) => response,
        Err(lost) => {
            tracing::error!(%lost, "the lock was lost, and the handler ended");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// One instance of the application. Instances on other machines would be the same.
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
    // The maximum is 42, so two requests fit.
    let (semaphore, count) = ("A", 21);
    let instance =
        |max_wait| application(Limit { throttle: throttle.clone(), semaphore, count, max_wait });
    let send = async |application: Router| {
        let request = Request::get("/report").body(Body::empty()).expect("a request");
        let Ok(response) = application.oneshot(request).await;
        response
    };

    let instances = [(); 2].map(|()| instance(Duration::from_secs(10)));
    let mut requests = tokio::task::JoinSet::new();
    for application in instances.iter().cycle().take(6).cloned() {
        requests.spawn(async move { send(application).await.status() });
    }
    let statuses = requests.join_all().await;
    let most = MOST_AT_WORK.load(Ordering::SeqCst);
    println!("six requests to two instances: {statuses:?}, at most {most} at a time");
    ensure!(statuses.iter().all(StatusCode::is_success), "all requests waited long enough");
    ensure!(most <= 2, "more than two reports were made at a time");

    // Another client holds the whole semaphore.
    let all = throttle.lock(semaphore).count(42).await?;
    let response = send(instance(Duration::from_millis(100))).await;
    println!("while there is no room: {}, {:?}", response.status(), response.headers());
    ensure!(response.headers().contains_key(RETRY_AFTER), "the client is asked to retry");
    all.release().await?;
    Ok(())
}

//! A real server that can be started again, and put out of reach.

use std::{
    collections::BTreeMap,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::Request, response::Response};
use throttle_client::{Client, Peer, PeerStatus};
use throttle_http::{Api, Limits};
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::{runtime::Runtime, sync::watch};
use tower::ServiceExt as _;

use crate::scripted_server::{Cut, client, serve};

/// Short, so that tests are; and not so short that a busy machine misses it.
pub(crate) const LEASE: Duration = Duration::from_millis(600);
/// Longer than anything takes here.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) const MUTEX: &[(&str, u64, i32)] = &[("A", 1, 0)];

/// A server that can be started again, and put out of reach.
pub(crate) struct RealServer {
    /// Nobody is in while it is out of reach.
    inside: watch::Sender<Option<Router>>,
    pub(crate) url: String,
}

impl RealServer {
    /// Serves semaphores by name, maximum and level.
    pub(crate) async fn with(semaphores: &[(&str, u64, i32)]) -> Self {
        Self::with_limits(semaphores, Limits::default()).await
    }

    pub(crate) async fn with_limits(semaphores: &[(&str, u64, i32)], limits: Limits) -> Self {
        let api = Api::new(handle(semaphores)).limits(limits);
        let inside = watch::Sender::new(Some(api.routes()));
        let url = format!("http://{}", open(inside.clone()).await);
        Self { inside, url }
    }

    /// Forgets everything, and serves these.
    pub(crate) fn restart_with(&self, semaphores: &[(&str, u64, i32)]) {
        self.inside.send_replace(Some(routes(semaphores)));
    }

    /// From now on there are no answers.
    pub(crate) fn stop_answering(&self) {
        self.inside.send_replace(None);
    }

    /// Another URL of the same server.
    pub(crate) async fn another_url(&self) -> String {
        let inside = self.inside.clone();
        format!("http://{}", open(inside).await)
    }

    /// A URL at which every third answer gets lost, and every seventh request.
    pub(crate) async fn lossy_url(&self) -> String {
        let inside = self.inside.clone();
        let requests = Arc::new(AtomicU64::new(0));
        let answer = async move |request: Request| -> Response {
            let number = requests.fetch_add(1, Ordering::Relaxed);
            let router = inside.borrow().clone().expect("it is within reach");
            if number % 7 == 6 {
                return Cut.into_response().await;
            }
            let answer = router.oneshot(request).await.unwrap();
            if number % 3 == 2 { Cut.into_response().await } else { answer }
        };
        format!("http://{}", serve(Router::new().fallback(answer)).await.0)
    }

    pub(crate) fn client(&self) -> Client {
        client(&self.url).build().unwrap()
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::builder(&self.client()).lease(LEASE).build()
    }

    /// A peer whose background task runs on another runtime.
    pub(crate) fn peer_on(&self, runtime: &Runtime) -> Peer {
        let _entered = runtime.enter();
        self.peer()
    }

    /// A peer that soon hears of everything, and outlives a machine that is busy.
    pub(crate) fn watchful_peer(&self) -> Peer {
        let builder = Peer::builder(&self.client()).lease(LONG);
        builder.heartbeat_every(Duration::from_millis(20)).build()
    }

    /// A peer that sends nothing by itself for a while.
    pub(crate) fn quiet_peer(&self) -> Peer {
        Peer::builder(&self.client()).lease(5 * LONG).build()
    }

    /// Returns when somebody waits for `semaphore`.
    pub(crate) async fn until_somebody_waits(&self) {
        self.until(|peers| peers.iter().any(|peer| peer.pending.is_some())).await;
    }

    /// Asks until the peers are as they shall be.
    pub(crate) async fn until(&self, condition: impl Fn(&[PeerStatus]) -> bool) -> Vec<PeerStatus> {
        let asking = async {
            loop {
                let peers = self.client().peers().await.unwrap();
                if condition(&peers) {
                    return peers;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, asking).await.expect("it comes about soon")
    }
}

/// Starts to let requests in, and returns where.
async fn open(inside: watch::Sender<Option<Router>>) -> SocketAddr {
    let answer = async move |request: Request| -> Response {
        let mut inside = inside.subscribe();
        let Some(router) = inside.borrow_and_update().clone() else { return pending().await };
        tokio::select! {
            answer = router.oneshot(request) => answer.unwrap(),
            _ = inside.changed() => Cut.into_response().await,
        }
    };
    serve(Router::new().fallback(answer)).await.0
}

pub(crate) fn routes(semaphores: &[(&str, u64, i32)]) -> Router {
    throttle_http::routes(handle(semaphores))
}

fn handle(semaphores: &[(&str, u64, i32)]) -> Handle {
    let semaphores = semaphores.iter().map(|&(name, max, level)| {
        let max = Count::new(max).unwrap();
        (name.to_owned(), SemaphoreConfig { max, level: Level(level) })
    });
    let semaphores: BTreeMap<_, _> = semaphores.collect();
    Handle::start(Settings::default(), &semaphores)
}

#[expect(clippy::disallowed_methods, reason = "the server and its client run in real time here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

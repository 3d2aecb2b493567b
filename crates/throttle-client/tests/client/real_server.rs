//! The real routes behind a server that can be restarted and can stop answering.

use std::{
    collections::BTreeMap,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::Request, response::Response};
use throttle_client::{Client, Peer, PeerStatus};
use throttle_http::{Api, RequestLimits};
use throttle_runtime::{Builder, Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::{runtime::Runtime, sync::watch};
use tower::ServiceExt as _;

use crate::{
    memory_store::Disk,
    scripted_server::{Cut, client, serve},
};

/// Short to keep tests short, but not so short that a busy machine misses it.
pub(crate) const LEASE: Duration = Duration::from_millis(600);
/// Longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) const MUTEX: &[(&str, u64, i32)] = &[("A", 1, 0)];

/// The real routes behind a server that can be restarted and can stop answering.
pub(crate) struct RealServer {
    /// `None` while the server does not answer.
    inside: watch::Sender<Option<Router>>,
    handle: Mutex<Handle>,
    /// What survives a restart.
    disk: Disk,
    restores: Arc<AtomicU64>,
    pub(crate) url: String,
}

impl RealServer {
    /// Serves semaphores with these names, maxima and levels.
    pub(crate) async fn with(semaphores: &[(&str, u64, i32)]) -> Self {
        Self::with_limits(semaphores, RequestLimits::default()).await
    }

    pub(crate) async fn with_limits(
        semaphores: &[(&str, u64, i32)],
        limits: RequestLimits,
    ) -> Self {
        Self::start(builder(&configured(semaphores)), limits).await
    }

    /// The same, with a memory that survives a [restart](Self::restart_and_remember).
    pub(crate) async fn with_memory(semaphores: &[(&str, u64, i32)]) -> Self {
        let disk = Disk::default();
        let semaphores = configured(semaphores);
        let builder = builder(&semaphores).store(disk.next_service());
        Self { disk, ..Self::start(builder, RequestLimits::default()).await }
    }

    /// The same, with a grace period that begins now.
    pub(crate) async fn with_grace_period(
        semaphores: &[(&str, u64, i32)],
        grace_period: Duration,
    ) -> Self {
        let semaphores = configured(semaphores);
        let builder = builder(&semaphores).grace_period(grace_period);
        Self::start(builder, RequestLimits::default()).await
    }

    async fn start(builder: Builder<'_>, limits: RequestLimits) -> Self {
        let handle = builder.start().unwrap();
        let inside = watch::Sender::new(Some(Api::new(handle.clone()).limits(limits).routes()));
        let restores = Arc::default();
        let url = format!("http://{}", open(inside.clone(), Arc::clone(&restores)).await);
        Self { inside, handle: Mutex::new(handle), disk: Disk::default(), restores, url }
    }

    /// Restarts the server: it forgets everything, and serves these semaphores.
    pub(crate) fn restart_with(&self, semaphores: &[(&str, u64, i32)]) {
        self.follow_with(builder(&configured(semaphores)).start().unwrap());
    }

    /// Kills the server and starts another one, which remembers what this one had made durable.
    pub(crate) fn restart_and_remember(&self, semaphores: &[(&str, u64, i32)]) {
        let semaphores = configured(semaphores);
        self.follow_with(builder(&semaphores).store(self.disk.next_service()).start().unwrap());
    }

    fn follow_with(&self, handle: Handle) {
        *self.handle.lock().unwrap() = handle.clone();
        self.inside.send_replace(Some(throttle_http::routes(handle)));
    }

    /// The service within.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.lock().unwrap().clone()
    }

    /// How many requests to restore a peer there were.
    pub(crate) fn restores(&self) -> u64 {
        self.restores.load(Ordering::Relaxed)
    }

    /// Stops answering until the next restart.
    pub(crate) fn stop_answering(&self) {
        self.inside.send_replace(None);
    }

    /// A second URL of the same server.
    pub(crate) async fn another_url(&self) -> String {
        format!("http://{}", open(self.inside.clone(), Arc::clone(&self.restores)).await)
    }

    /// A URL that loses every third answer and every seventh request.
    pub(crate) async fn lossy_url(&self) -> String {
        let inside = self.inside.clone();
        let requests = Arc::new(AtomicU64::new(0));
        let answer = async move |request: Request| -> Response {
            let number = requests.fetch_add(1, Ordering::Relaxed);
            let router = inside.borrow().clone().expect("the server answers");
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

    /// A peer whose heartbeat task runs on another runtime.
    pub(crate) fn peer_on(&self, runtime: &Runtime) -> Peer {
        let _entered = runtime.enter();
        self.peer()
    }

    /// A peer with frequent heartbeats and a lease that survives a busy machine.
    pub(crate) fn watchful_peer(&self) -> Peer {
        let builder = Peer::builder(&self.client()).lease(LONG);
        builder.heartbeat_every(Duration::from_millis(20)).build()
    }

    /// A peer that sends no heartbeat during a test.
    pub(crate) fn quiet_peer(&self) -> Peer {
        Peer::builder(&self.client()).lease(5 * LONG).build()
    }

    /// Returns when a peer waits for a lock.
    pub(crate) async fn until_somebody_waits(&self) {
        self.until(|peers| peers.iter().any(|peer| peer.pending.is_some())).await;
    }

    /// Repeats the listing of all peers until it satisfies the condition.
    pub(crate) async fn until(&self, condition: impl Fn(&[PeerStatus]) -> bool) -> Vec<PeerStatus> {
        let polling = async {
            loop {
                let peers = self.client().peers().await.unwrap();
                if condition(&peers) {
                    return peers;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, polling).await.expect("the condition becomes true soon")
    }
}

/// Starts to serve. Returns the address.
async fn open(inside: watch::Sender<Option<Router>>, restores: Arc<AtomicU64>) -> SocketAddr {
    let answer = async move |request: Request| -> Response {
        let is_restore = request.uri().path() == "/restore";
        restores.fetch_add(u64::from(is_restore), Ordering::Relaxed);
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
    throttle_http::routes(builder(&configured(semaphores)).start().unwrap())
}

fn configured(semaphores: &[(&str, u64, i32)]) -> BTreeMap<String, SemaphoreConfig> {
    let semaphores = semaphores.iter().map(|&(name, max, level)| {
        let max = Count::new(max).unwrap();
        (name.to_owned(), SemaphoreConfig { max, level: Level(level) })
    });
    semaphores.collect()
}

fn builder(semaphores: &BTreeMap<String, SemaphoreConfig>) -> Builder<'_> {
    Handle::builder(Settings::default(), semaphores)
}

#[expect(clippy::disallowed_methods, reason = "the server and its client run in real time here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

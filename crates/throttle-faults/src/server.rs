//! A real server within this process. It can be restarted, and inspected without the network.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{Request, Response},
};
use throttle_http::{Api, Endpoint};
use throttle_runtime::{
    Admission, Count, Handle, Labels, Level, LockRequest, Overview, PeerId, SemaphoreConfig,
    Settings,
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::clock;

/// A server with some semaphores. A restart loses all peers. Clones share the same server.
#[derive(Clone, Debug)]
pub struct Server {
    semaphores: Arc<BTreeMap<String, SemaphoreConfig>>,
    run: Arc<Mutex<Run>>,
}

/// One run of the server, from a start to the next restart.
#[derive(Clone, Debug)]
struct Run {
    handle: Handle,
    endpoint: Endpoint,
    /// Closed when the run ends.
    ended: Arc<watch::Sender<()>>,
}

impl Run {
    fn start(semaphores: &BTreeMap<String, SemaphoreConfig>) -> Self {
        let handle = Handle::start(Settings::default(), semaphores);
        let endpoint = Api::new(handle.clone()).endpoint();
        Self { handle, endpoint, ended: Arc::new(watch::channel(()).0) }
    }
}

impl Server {
    /// Starts a server with these semaphores: name, maximum and level.
    ///
    /// # Panics
    ///
    /// If a maximum is zero, or outside of a tokio runtime.
    pub fn start(semaphores: &[(&str, u64, i32)]) -> Self {
        let semaphores = semaphores.iter().map(|&(name, max, level)| {
            let max = Count::new(max).expect("a maximum is positive");
            (name.to_owned(), SemaphoreConfig { max, level: Level(level) })
        });
        let semaphores = Arc::new(semaphores.collect());
        Self { run: Arc::new(Mutex::new(Run::start(&semaphores))), semaphores }
    }

    /// Restarts the server without any peers. Requests under way get no answer.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn restart(&self) {
        *self.lock() = Run::start(&self.semaphores);
    }

    /// Starts to drain the server: it answers all blocked requests, and lets no others block.
    pub fn drain(&self) {
        self.handle().drain();
    }

    /// The handle of the current run.
    pub fn handle(&self) -> Handle {
        self.lock().handle.clone()
    }

    /// The number of peers.
    ///
    /// # Panics
    ///
    /// If the service has failed.
    pub async fn peers(&self) -> usize {
        self.handle().peer_count().await.expect("the service runs")
    }

    /// The number of waiters of a semaphore, including parked ones.
    ///
    /// # Panics
    ///
    /// If there is no such semaphore.
    pub async fn waiters(&self, semaphore: &str) -> usize {
        let status = self.handle().semaphore(semaphore).await;
        status.expect("the semaphore is configured").waiters
    }

    /// The number of parked waiters: their connection broke, and they are granted nothing until they repeat the
    /// request.
    ///
    /// # Panics
    ///
    /// If there is no such semaphore.
    pub async fn parked(&self, semaphore: &str) -> usize {
        let overview = self.overview(semaphore).await;
        overview.waiters.entries.iter().filter(|waiter| waiter.parked).count()
    }

    async fn overview(&self, semaphore: &str) -> Overview {
        let overview = self.handle().overview(semaphore, MAX_ENTRIES).await;
        overview.expect("the semaphore is configured")
    }

    /// The holders of a semaphore.
    ///
    /// # Panics
    ///
    /// If there is no such semaphore.
    pub async fn holders(&self, semaphore: &str) -> Vec<PeerId> {
        let overview = self.overview(semaphore).await;
        overview.holders.entries.into_iter().map(|holder| holder.peer).collect()
    }

    /// Describes the holders and waiters of a semaphore, for messages.
    ///
    /// # Panics
    ///
    /// If there is no such semaphore.
    pub async fn describe(&self, semaphore: &str) -> String {
        let overview = self.overview(semaphore).await;
        let holders = overview.holders.entries.into_iter().map(|it| {
            format!("{} with token {} for {:?}, {:?}", it.peer, it.token, it.held_for, it.labels)
        });
        let waiters = overview.waiters.entries.into_iter().map(|it| {
            let parked = if it.parked { "parked " } else { "" };
            format!("{} {parked}for {:?}, {:?}", it.peer, it.waiting_for, it.labels)
        });
        let list = |it: Vec<String>| it.join("; ");
        format!("held by [{}], awaited by [{}]", list(holders.collect()), list(waiters.collect()))
    }

    /// Removes all holders of a semaphore, as an operator does.
    ///
    /// # Errors
    ///
    /// The server has failed.
    pub async fn remove_holders(&self, semaphore: &str) -> anyhow::Result<()> {
        self.remove(self.holders(semaphore).await).await
    }

    /// Removes all waiters of a semaphore, as an operator does.
    ///
    /// # Errors
    ///
    /// The server has failed.
    pub async fn remove_waiters(&self, semaphore: &str) -> anyhow::Result<()> {
        let overview = self.handle().overview(semaphore, MAX_ENTRIES).await?;
        self.remove(overview.waiters.entries.into_iter().map(|waiter| waiter.peer)).await
    }

    async fn remove(&self, peers: impl IntoIterator<Item = PeerId>) -> anyhow::Result<()> {
        let handle = self.handle();
        for peer in peers {
            handle.remove_peer(peer, None).await?;
        }
        Ok(())
    }

    /// Answers a request. `None` if the run ends before the answer.
    pub async fn answer(&self, request: Request<Bytes>) -> Option<Response<Body>> {
        let (endpoint, mut ended) = {
            let run = self.lock();
            (run.endpoint.clone(), run.ended.subscribe())
        };
        tokio::select! {
            answer = endpoint.answer(request.map(Body::from)) => Some(answer),
            _ = ended.changed() => None,
        }
    }

    /// Starts a rival: a peer that requests a lock on a semaphore without the network.
    ///
    /// # Errors
    ///
    /// The server refuses the request.
    pub async fn start_rival(&self, semaphore: &str) -> anyhow::Result<Rival> {
        let handle = self.handle();
        let peer = handle.new_peer(RIVAL_LEASE, Labels::default()).await?;
        let (requester, name) = (handle.clone(), semaphore.to_owned());
        let granted = tokio::spawn(async move {
            let request =
                LockRequest { block_for: Some(RIVAL_LEASE), ..LockRequest::now(Count::ONE) };
            let admission = requester.acquire(peer, &name, request).await;
            matches!(admission, Ok(Admission::Granted { .. })).then(clock::now)
        });
        let is_registered = || async {
            let status = handle.peer(peer).await;
            status.is_ok_and(|status| status.pending.is_some() || !status.held.is_empty())
        };
        clock::until("a rival is in the queue", RIVAL_LEASE, is_registered).await?;
        Ok(Rival { handle, peer, granted })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Run> {
        self.run.lock().expect("no thread panics while it holds the mutex")
    }
}

/// A peer that requests a lock on the semaphore of the worker, without the proxy.
#[derive(Debug)]
pub struct Rival {
    handle: Handle,
    peer: PeerId,
    granted: JoinHandle<Option<Instant>>,
}

impl Rival {
    /// Whether its request is answered.
    pub fn is_answered(&self) -> bool {
        self.granted.is_finished()
    }

    /// Waits until it holds the lock. Returns the instant.
    ///
    /// # Errors
    ///
    /// It does not hold it within this time.
    pub async fn wait_for_lock(&mut self, within: Duration) -> anyhow::Result<Instant> {
        let Ok(granted) = tokio::time::timeout(within, &mut self.granted).await else {
            anyhow::bail!("a rival does not get the lock within {within:?}")
        };
        granted?.ok_or_else(|| anyhow::anyhow!("a rival was refused"))
    }

    /// Removes the peer, with its lock or its place in the queue.
    ///
    /// # Errors
    ///
    /// The server has failed.
    pub async fn remove(self) -> anyhow::Result<()> {
        self.handle.remove_peer(self.peer, None).await?;
        Ok(())
    }
}

/// Longer than any trial takes.
const RIVAL_LEASE: Duration = Duration::from_secs(120);

/// More than the holders or waiters of any trial.
const MAX_ENTRIES: usize = 1_000;

//! A real server in this process that can be restarted, and looked at without the network.

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
    Admission, Count, Handle, Labels, Level, LockRequest, PeerId, SemaphoreConfig, Settings,
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::clock;

/// A server with some semaphores. It keeps everything in memory, so a restart forgets all peers.
///
/// Clones share it.
#[derive(Clone, Debug)]
pub struct Server {
    semaphores: Arc<BTreeMap<String, SemaphoreConfig>>,
    run: Arc<Mutex<Run>>,
}

/// From one start of the server to the next.
#[derive(Clone, Debug)]
struct Run {
    handle: Handle,
    endpoint: Endpoint,
    /// Is closed when the run ends.
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
    /// Starts a server with these semaphores, each with its maximum and its level.
    ///
    /// # Panics
    ///
    /// If a maximum is zero, or there is no runtime of tokio.
    pub fn start(semaphores: &[(&str, u64, i32)]) -> Self {
        let semaphores = semaphores.iter().map(|&(name, max, level)| {
            let max = Count::new(max).expect("a maximum is positive");
            (name.to_owned(), SemaphoreConfig { max, level: Level(level) })
        });
        let semaphores = Arc::new(semaphores.collect());
        Self { run: Arc::new(Mutex::new(Run::start(&semaphores))), semaphores }
    }

    /// Ends the server with all requests that it has not answered, and starts one that knows no peer.
    ///
    /// # Panics
    ///
    /// If there is no runtime of tokio.
    pub fn restart(&self) {
        *self.lock() = Run::start(&self.semaphores);
    }

    /// Lets the server prepare its end: it answers those who wait, and lets nobody else wait.
    pub fn drain(&self) {
        self.handle().drain();
    }

    /// The state of the present run.
    pub fn handle(&self) -> Handle {
        self.lock().handle.clone()
    }

    /// How many peers there are.
    pub fn peers(&self) -> usize {
        self.handle().peer_count()
    }

    /// How many peers wait for a semaphore, those included whose connection broke.
    ///
    /// # Panics
    ///
    /// If there is no such semaphore.
    pub fn waiters(&self, semaphore: &str) -> usize {
        self.handle().semaphore(semaphore).expect("the semaphore is there").waiters
    }

    /// How many of them have lost their connection, and are granted nothing until they ask again.
    ///
    /// # Panics
    ///
    /// If there is no such semaphore.
    pub fn parked(&self, semaphore: &str) -> usize {
        let overview = self.handle().overview(semaphore, MANY).expect("the semaphore is there");
        overview.waiters.entries.iter().filter(|waiter| waiter.parked).count()
    }

    /// Who holds a semaphore.
    ///
    /// # Panics
    ///
    /// If there is no such semaphore.
    pub fn holders(&self, semaphore: &str) -> Vec<PeerId> {
        let overview = self.handle().overview(semaphore, MANY).expect("the semaphore is there");
        overview.holders.entries.into_iter().map(|holder| holder.peer).collect()
    }

    /// Who holds and who awaits a semaphore, in a text for people.
    ///
    /// # Panics
    ///
    /// If there is no such semaphore.
    pub fn describe(&self, semaphore: &str) -> String {
        let overview = self.handle().overview(semaphore, MANY).expect("the semaphore is there");
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

    /// Removes whoever holds a semaphore, as an operator does.
    ///
    /// # Errors
    ///
    /// The server has failed.
    pub async fn remove_holders(&self, semaphore: &str) -> anyhow::Result<()> {
        self.remove(self.holders(semaphore)).await
    }

    /// Removes whoever waits for a semaphore, as an operator does.
    ///
    /// # Errors
    ///
    /// The server has failed.
    pub async fn remove_waiters(&self, semaphore: &str) -> anyhow::Result<()> {
        let overview = self.handle().overview(semaphore, MANY)?;
        self.remove(overview.waiters.entries.into_iter().map(|waiter| waiter.peer)).await
    }

    async fn remove(&self, peers: impl IntoIterator<Item = PeerId>) -> anyhow::Result<()> {
        let handle = self.handle();
        for peer in peers {
            handle.remove_peer(peer, None).await?;
        }
        Ok(())
    }

    /// Answers a request; `None` if the server ended before it did.
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

    /// Joins the queue of a semaphore without the network.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub async fn rival(&self, semaphore: &str) -> anyhow::Result<Rival> {
        let handle = self.handle();
        let peer = handle.new_peer(RIVAL_LEASE, Labels::default()).await?;
        let (asking, name) = (handle.clone(), semaphore.to_owned());
        let granted = tokio::spawn(async move {
            let ask = LockRequest { block_for: Some(RIVAL_LEASE), ..LockRequest::now(Count::ONE) };
            let admission = asking.acquire(peer, &name, ask).await;
            matches!(admission, Ok(Admission::Granted { .. })).then(clock::now)
        });
        let has_asked = || {
            let status = handle.peer(peer);
            status.is_ok_and(|status| status.pending.is_some() || !status.held.is_empty())
        };
        clock::until("a rival stands in the queue", RIVAL_LEASE, has_asked).await?;
        Ok(Rival { handle, peer, granted })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Run> {
        self.run.lock().expect("nobody panics with it")
    }
}

/// A peer beside the proxy that wants the same semaphore.
#[derive(Debug)]
pub struct Rival {
    handle: Handle,
    peer: PeerId,
    granted: JoinHandle<Option<Instant>>,
}

impl Rival {
    /// Whether it has an answer.
    pub fn is_answered(&self) -> bool {
        self.granted.is_finished()
    }

    /// Waits until it has the lock, and returns since when.
    ///
    /// # Errors
    ///
    /// It does not get it within this time.
    pub async fn held(&mut self, within: Duration) -> anyhow::Result<Instant> {
        let Ok(granted) = tokio::time::timeout(within, &mut self.granted).await else {
            anyhow::bail!("a rival does not get the lock within {within:?}")
        };
        granted?.ok_or_else(|| anyhow::anyhow!("a rival was refused"))
    }

    /// Leaves, with the lock or its place.
    ///
    /// # Errors
    ///
    /// The server has failed.
    pub async fn leave(self) -> anyhow::Result<()> {
        self.handle.remove_peer(self.peer, None).await?;
        Ok(())
    }
}

/// Longer than any scenario takes.
const RIVAL_LEASE: Duration = Duration::from_secs(120);

/// More than ever hold or wait.
const MANY: usize = 1_000;

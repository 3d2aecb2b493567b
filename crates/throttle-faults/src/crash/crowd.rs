//! A crowd of idle peers that makes the file of the store large for a part of the run.
//!
//! It comes and goes while the server is killed, so large batches are interrupted and large files are recovered.
//! While it is there, a list of all peers must show each of them with its lock, from time to time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::{
    event::{Answer, Request},
    raw_http::{RawHttp, decode_peer, exchange, get, open},
    recorder::Recorder,
};

/// The idle peers.
#[derive(Debug)]
pub(super) struct Crowd {
    recorder: Arc<Recorder>,
    size: usize,
    peers: Vec<u64>,
}

impl Crowd {
    pub(super) fn new(recorder: Arc<Recorder>, size: usize) -> Self {
        Self { recorder, size, peers: Vec::new() }
    }

    /// Lets the crowd come and go until the run ends.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let mut arrival = FIRST_ARRIVAL;
        while self.until_process(arrival).await {
            self.arrive().await?;
            for restarts in (LOOK_EVERY..STAY).step_by(LOOK_EVERY) {
                self.until_process(arrival + restarts).await;
                self.look().await?;
            }
            self.leave().await?;
            arrival += PERIOD;
        }
        Ok(())
    }

    /// Waits for the process of this number. Returns whether the run goes on.
    async fn until_process(&self, process: usize) -> bool {
        let mut server = self.recorder.subscribe();
        let reached = server.wait_for(|it| it.is_last || it.is_ready && it.process >= process);
        !reached.await.expect("the recorder has the sender").is_last
    }

    async fn arrive(&mut self) -> anyhow::Result<()> {
        let left = Arc::new(AtomicUsize::new(self.size));
        let peers = Arc::new(Mutex::new(Vec::new()));
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut http = RawHttp::new(Arc::clone(&self.recorder));
            let (left, peers) = (Arc::clone(&left), Arc::clone(&peers));
            connections.spawn(async move {
                while left.fetch_update(RELAXED, RELAXED, |left| left.checked_sub(1)).is_ok() {
                    let created = http.call(Request::NewPeer { lease: LEASE }).await?;
                    let Some(Answer::Created { peer }) = created else { continue };
                    peers.lock().expect("no thread panics meanwhile").push(peer);
                    acquire(&mut http, peer).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = connections.join_next().await {
            ended??;
        }
        self.peers = std::mem::take(&mut *peers.lock().expect("all threads have ended"));
        Ok(())
    }

    /// Reads the list of all peers, which counts as a look at each peer of the crowd.
    async fn look(&self) -> anyhow::Result<()> {
        let server = self.recorder.ready().await;
        let Ok(mut connection) = open(server.address).await else { return Ok(()) };
        let looks =
            self.peers.iter().map(|&peer| (peer, self.recorder.sent(Request::Inspect { peer })));
        let looks = looks.collect::<BTreeMap<_, _>>();
        let answer = exchange(&mut connection, get("/peers/")).await;
        let listed =
            answer.as_ref().map(|(_, body)| body.as_array().context("the list is no array"));
        let Some(listed) = listed.transpose()? else {
            for number in looks.into_values() {
                self.recorder.unanswered(number);
            }
            return Ok(());
        };
        let shown =
            listed.iter().filter_map(|peer| Some((peer["id"].as_u64()?, decode_peer(peer)?)));
        let mut shown = shown.collect::<BTreeMap<_, _>>();
        for (peer, number) in looks {
            let answer = shown.remove(&peer);
            let answer = answer.unwrap_or_else(|| Answer::refused("unknown_peer"));
            self.recorder.answered(number, &answer);
        }
        Ok(())
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        let peers = Arc::new(Mutex::new(std::mem::take(&mut self.peers)));
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let recorder = Arc::clone(&self.recorder);
            let mut http = RawHttp::new(Arc::clone(&recorder));
            let peers = Arc::clone(&peers);
            let next = move || peers.lock().expect("no thread panics meanwhile").pop();
            connections.spawn(async move {
                while let Some(peer) = next() {
                    let remove = Request::Remove { peer, sequence: None };
                    while http.call(remove.clone()).await?.is_none() {}
                    recorder.checker(|checker| checker.forget(peer));
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = connections.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn acquire(http: &mut RawHttp, peer: u64) -> anyhow::Result<()> {
    let request = Request::Acquire {
        peer,
        semaphore: CROWD,
        count: 1,
        lease: None,
        block_for: None,
        sequence: None,
    };
    while http.call(request.clone()).await?.is_none() {}
    Ok(())
}

/// The semaphore that every peer of the crowd holds.
pub(super) const CROWD: &str = "crowd";

/// The number of the process in which the first crowd arrives.
const FIRST_ARRIVAL: usize = 4;

/// A crowd stays for so many restarts,
const STAY: usize = 16;

/// and the next one arrives so many restarts after it arrived.
const PERIOD: usize = 40;

const LOOK_EVERY: usize = 5;

const CONNECTIONS: usize = 8;

/// The crowd does not renew its leases.
const LEASE: Duration = Duration::from_secs(600);

const RELAXED: Ordering = Ordering::Relaxed;

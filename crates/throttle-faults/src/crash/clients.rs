//! The clients in Rust and Python and `throttlectl`, as processes that take locks during the kills.
//!
//! Their leases are longer than any outage, so none of them may lose a lock. A claim of theirs begins when the
//! harness reads that the lock is held, and ends before the harness tells the client to release it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;

use super::{
    raw_http::{delete, exchange, get, open},
    recorder::Recorder,
};
use crate::{
    claims::{Claim, Rule},
    client_kind::{ClientKind, Programs, WorkerOptions},
    worker_outcome::OutcomeKind,
    worker_process::WorkerProcess,
};

/// A client that takes the same lock again and again.
pub(super) struct RealClient {
    pub(super) programs: Arc<Programs>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) kind: ClientKind,
    pub(super) number: usize,
    pub(super) semaphore: &'static str,
    pub(super) seed: u64,
}

impl RealClient {
    /// Takes the lock until the run ends. `throttlectl` takes it once, so it is restarted for each round.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let who = format!("{} {}", self.kind, self.number);
        let mut random = StdRng::seed_from_u64(self.seed);
        let options = WorkerOptions {
            url: format!("http://{}", self.recorder.server().address),
            semaphores: vec![self.semaphore],
            lease: LEASE,
            wait: None,
            rounds: u32::MAX,
        };
        self.recorder.ready().await;
        let mut process = None;
        // The next request is sent after this moment.
        let mut requested = self.recorder.now();
        while !self.recorder.server().is_last {
            let mut worker = match process.take() {
                Some(worker) => worker,
                None => WorkerProcess::start(self.kind, &self.programs, &options)?,
            };
            let entered = worker.wait_for_lock_or_outcome(TIMEOUT).await.context(who.clone())?;
            let (held_by, token) = match entered {
                Ok((at, token)) => (self.recorder.moment(at), token),
                Err(outcome) => {
                    let is_unreachable =
                        matches!(outcome.kind, OutcomeKind::Timeout | OutcomeKind::Unreachable);
                    if !is_unreachable {
                        self.recorder.violate(Rule::Memory, format!("{who} ends: {outcome}"));
                        return Ok(());
                    }
                    let process_id = worker.process_id();
                    worker.kill().await;
                    self.remove_peers_of(process_id).await?;
                    requested = self.recorder.now();
                    continue;
                }
            };
            let mut claim = Claim::new(who.clone(), self.semaphore, 1, requested);
            claim.token = Some(token);
            claim.shown_held(held_by, held_by, 1);
            let claim = self.recorder.checker(|checker| checker.enter(claim));
            sleep(Duration::from_millis(random.random_range(0..40))).await;
            requested = self.recorder.now();
            self.recorder.checker(|checker| checker.leave(claim, requested));
            let outcome = worker.release(TIMEOUT).await.context(who.clone())?;
            if outcome.kind != OutcomeKind::Released {
                let message =
                    format!("{who} held {:?} with token {token}, then: {outcome}", self.semaphore);
                self.recorder.violate(Rule::Memory, message);
                return Ok(());
            }
            process = self.keep(worker);
        }
        if let Some(worker) = process {
            // It has sent one more request. Without input it releases the lock at once when it gets it.
            worker.close_input_and_wait(TIMEOUT).await.context(who)?;
        }
        Ok(())
    }

    /// Removes the peers of a client that gave up, as an operator would.
    ///
    /// Their leases would not end in this run, because every restart renews them. So a lock that the client is
    /// granted after it is gone would stay with it.
    async fn remove_peers_of(&self, process_id: u32) -> anyhow::Result<()> {
        let label = process_id.to_string();
        loop {
            let server = self.recorder.ready().await;
            let removed = remove_peers_with_label(server.address, &label).await;
            if removed.is_ok_and(|removed| removed == 0) {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    fn keep(&self, worker: WorkerProcess) -> Option<WorkerProcess> {
        (self.kind != ClientKind::Throttlectl).then_some(worker)
    }
}

/// Removes all peers with this label. Returns how many there were.
async fn remove_peers_with_label(address: SocketAddr, pid: &str) -> anyhow::Result<usize> {
    let mut connection = open(address).await?;
    let peers = exchange(&mut connection, get("/peers/")).await.context(SERVER_IS_GONE)?.1;
    let peers = peers.as_array().context(SERVER_IS_GONE)?;
    let peers = peers.iter().filter(|peer| peer["labels"]["pid"] == pid);
    let ids = peers.filter_map(|peer| peer["id"].as_u64()).collect::<Vec<_>>();
    for id in &ids {
        let request = delete(&format!("/peers/{id}"));
        exchange(&mut connection, request).await.context(SERVER_IS_GONE)?;
    }
    Ok(ids.len())
}

const SERVER_IS_GONE: &str = "the server is gone";

const PAUSE: Duration = Duration::from_millis(50);

/// Longer than all outages that a client may meet while it holds a lock.
const LEASE: Duration = Duration::from_secs(30);

/// A client that takes longer for anything has failed.
const TIMEOUT: Duration = Duration::from_secs(120);

//! What the engine of our store takes to make a single change durable.

use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use throttle_runtime::{
    Batch, Count, FencingToken, HeldRecord, Labels, Level, Meta, PeerChange, PeerId, PeerRecord,
    SemaphoreRecord, Sequence, Store as _, UnixTime,
};
use throttle_store::Embedded;

use crate::{
    clock,
    load::{AMPLE, AMPLE_MAX, Latencies},
    server::Launcher,
};

/// A store of our server that is used without a server.
#[derive(Debug)]
pub(super) struct Commits {
    store: Embedded,
    peer: PeerId,
    token: u64,
    _directory: TempDir,
}

impl Commits {
    /// Makes a store without peers.
    pub(super) fn new(launcher: &Launcher) -> anyhow::Result<Self> {
        let directory = launcher.directory()?;
        let mut store = Embedded::open(directory.path().join("throttle.redb"))?;
        let meta = Meta { id: 1, made_at: UnixTime(0), token_floor: token(0)? };
        store.write(&Batch { meta: Some(meta), ..Batch::default() })?;
        let peer = PeerId::new(1).context("an id")?;
        Ok(Self { store, peer, token: 0, _directory: directory })
    }

    /// Commits a grant, a release, a grant, and so on for `time`. Returns how long each took.
    pub(super) fn measure(&mut self, time: Duration) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new();
        let end = clock::now() + time;
        loop {
            let batch = self.next_batch()?;
            let start = clock::now();
            self.store.write(&batch)?;
            let now = clock::now();
            latencies.record(now.duration_since(start));
            if now >= end {
                return Ok(latencies);
            }
        }
    }

    fn next_batch(&mut self) -> anyhow::Result<Batch> {
        self.token += 1;
        let (mut held, mut semaphores) = (Vec::new(), Vec::new());
        if !self.token.is_multiple_of(2) {
            let token = token(self.token)?;
            let (semaphore, count, since) = (AMPLE.into(), Count::ONE, UnixTime(0));
            held.push(HeldRecord { semaphore, count, token, since });
            let max = Count::new(AMPLE_MAX).context("a count")?;
            let (name, level) = (AMPLE.into(), Level::default());
            let record = SemaphoreRecord { name, last_token: token, max, level };
            semaphores.push((AMPLE.into(), Some(record)));
        }
        let record = PeerRecord {
            id: self.peer,
            expires_in: Duration::from_secs(43_200),
            labels: Labels::default(),
            sequence: Sequence::default(),
            held,
            pending: None,
        };
        let peers = vec![(self.peer, PeerChange::Living(record))];
        Ok(Batch { meta: None, semaphores, peers })
    }
}

fn token(number: u64) -> anyhow::Result<FencingToken> {
    FencingToken::new(number + 1).context("a token")
}

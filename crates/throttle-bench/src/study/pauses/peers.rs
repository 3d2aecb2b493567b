//! Events that concern very many peers at a time.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{MARGIN, PauseStudy, PreparedServer, RUN_UP};
use crate::{
    clock,
    engine::{Engine, Load, Times},
    http::{Answer, Request},
    load::{AMPLE, LONG, Lease, MUTEX, TAKEN, populate},
    scale::Short,
};

impl PauseStudy<'_> {
    /// Measures all events of this kind, with this number of peers, and a chain of waiters with leases of
    /// length zero.
    pub(super) fn peers(&mut self, peers: usize, chain: usize) -> anyhow::Result<()> {
        self.no_event()?;
        self.expiry("expiry of holders", peers, AMPLE)?;
        self.expiry("expiry of waiters", peers, TAKEN)?;
        self.chain(peers, chain)?;
        self.list(peers)?;
        self.waiters(peers)
    }

    /// No event, for comparison.
    fn no_event(&mut self) -> anyhow::Result<()> {
        let mut prepared = PreparedServer::open(self.launcher, &[])?;
        let idle = |_: &mut PreparedServer| {
            clock::sleep(RUN_UP);
            Ok(())
        };
        self.measure_pause(&mut prepared, ("nothing", "nobody"), idle).map(drop)
    }

    /// The leases of peers that hold or await a lock end together.
    fn expiry(&mut self, what: &str, peers: usize, lock: &str) -> anyhow::Result<()> {
        let mut prepared = PreparedServer::open(self.launcher, &[])?;
        prepared.server.hold_all(TAKEN)?;
        let Some((end, ids)) = prepared.populate_until_one_instant(peers, Some(lock))? else {
            return Ok(());
        };
        clock::sleep_until(end - RUN_UP);
        let among = format!("{} peers", Short(peers));
        self.measure_pause(&mut prepared, (what, &among), |_| {
            clock::sleep_until(end + RUN_UP);
            Ok(())
        })?;
        prepared.ensure_gone(&ids)
    }

    /// Idle peers expire together with the holder of a mutex. Its waiters have leases of length zero, so each
    /// is granted the mutex and expires at once, which grants it to the next one.
    fn chain(&mut self, peers: usize, links: usize) -> anyhow::Result<()> {
        let mut prepared = PreparedServer::open(self.launcher, &[])?;
        let chain = populate(&mut prepared.engine, links, Lease::Long, None)?;
        let Some((end, idle)) = prepared.populate_until_one_instant(peers, None)? else {
            return Ok(());
        };
        let after_the_first = Lease::Until(end + Duration::from_micros(200));
        let holder = populate(&mut prepared.engine, 1, after_the_first, Some(MUTEX))?;
        let mut engine = Engine::connect(prepared.server.address, links)?;
        let mut waits = Waits { peers: &chain, asked: 0 };
        let among = format!("{} peers", Short(peers));
        let what = format!("expiry and a chain of {}", Short(links));
        self.measure_pause(&mut prepared, (&what, &among), |_| {
            engine.run(&mut waits)?;
            clock::sleep_until(end + MARGIN);
            Ok(())
        })?;
        prepared.ensure_gone(&idle)?;
        prepared.ensure_gone(&chain)?;
        prepared.ensure_gone(&holder)
    }

    /// A client lists all peers.
    fn list(&mut self, peers: usize) -> anyhow::Result<()> {
        let mut prepared = PreparedServer::open(self.launcher, &[])?;
        populate(&mut prepared.engine, peers, Lease::Long, Some(AMPLE))?;
        let among = format!("{} peers", Short(peers));
        self.measure_pause_and_time(&mut prepared, ("list of peers", &among), |prepared| {
            prepared.ensure_lists("/peers/", peers)
        })
    }

    /// A client lists the waiters of a semaphore. Then its maximum is raised, so that all of them are granted
    /// their locks, and lowered below the count that they hold.
    fn waiters(&mut self, peers: usize) -> anyhow::Result<()> {
        let mut prepared = PreparedServer::open(self.launcher, &[])?;
        prepared.server.hold_all(TAKEN)?;
        populate(&mut prepared.engine, peers, Lease::Long, Some(TAKEN))?;
        let among = format!("{} waiters", Short(peers));
        self.measure_pause_and_time(&mut prepared, ("list of a semaphore", &among), |prepared| {
            prepared.ensure_lists(&format!("/semaphores/{TAKEN}"), peers)
        })?;
        let (lower, all) = (2, peers as u64 + 1);
        let semaphore = |max| [(TAKEN.to_owned(), max)];
        self.measure_pause_and_time(&mut prepared, ("maximum raised", &among), |prepared| {
            prepared.server.reload(&semaphore(all))?;
            prepared.ensure_left(TAKEN, "0")
        })?;
        let among = format!("{} holders", Short(peers));
        self.measure_pause_and_time(&mut prepared, ("maximum lowered", &among), |prepared| {
            prepared.server.reload(&semaphore(lower))?;
            prepared.ensure_left(TAKEN, &format!("-{}", all - lower))
        })
    }
}

impl PreparedServer {
    /// Fails unless the first and the last of these peers are gone.
    fn ensure_gone(&self, peers: &[u64]) -> anyhow::Result<()> {
        for peer in peers.first().into_iter().chain(peers.last()) {
            let mut request = Request::default();
            request.heartbeat(*peer, LONG);
            let refusal =
                self.server.request(&request).err().context("a peer outlived its lease")?;
            ensure!(refusal.to_string().contains("Unknown peer"), "{refusal}");
        }
        Ok(())
    }

    /// Fails unless the list is long enough for this number of entries.
    pub(super) fn ensure_lists(&self, path: &str, entries: usize) -> anyhow::Result<()> {
        let length = self.server.download(path)?;
        ensure!(length > entries * MIN_ENTRY_LENGTH, "{path} has {length} bytes only");
        Ok(())
    }

    fn ensure_left(&self, semaphore: &str, expected: &str) -> anyhow::Result<()> {
        let mut request = Request::default();
        request.remainder(semaphore);
        let left = self.server.request(&request)?;
        let left = String::from_utf8_lossy(&left);
        ensure!(left == expected, "of {semaphore} {left} is left, not {expected}");
        Ok(())
    }
}

/// Peers that wait for the mutex with leases of length zero, each on a connection of its own.
struct Waits<'a> {
    peers: &'a [u64],
    asked: usize,
}

impl Load for Waits<'_> {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        // Connections send their first requests in order, and each sends one.
        if connection < self.asked {
            return false;
        }
        self.asked += 1;
        request.acquire(self.peers[connection], MUTEX, "?expires_in=0s&block_for=1h");
        true
    }

    fn answer(&mut self, _: usize, answer: Answer<'_>, _: Times) -> anyhow::Result<()> {
        // Granted, or expired before the answer was made.
        answer.expect(&[200, 400]).map(drop)
    }
}

/// The minimum length of an entry of a list, in bytes.
const MIN_ENTRY_LENGTH: usize = 16;

//! What happens to very many peers at a time.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{MARGIN, RUN_UP, Scenes, Stage};
use crate::{
    clock,
    engine::{Engine, Load, Times},
    load::{AMPLE, LONG, Lease, MUTEX, TAKEN, populate},
    scale::Short,
    wire::{Answer, Request},
};

impl Scenes<'_> {
    /// All scenes of this kind with so many peers, and a chain of so many leases of length zero.
    pub(super) fn peers(&mut self, peers: usize, chain: usize) -> anyhow::Result<()> {
        self.calm()?;
        self.expiry("expiry of holders", peers, AMPLE)?;
        self.expiry("expiry of waiters", peers, TAKEN)?;
        self.chain(peers, chain)?;
        self.list(peers)?;
        self.waiters(peers)
    }

    /// Nothing happens: what the probe finds anyway.
    fn calm(&mut self) -> anyhow::Result<()> {
        let mut stage = Stage::open(self.yard, &[])?;
        let idle = |_: &mut Stage| {
            clock::sleep(RUN_UP);
            Ok(())
        };
        self.watch(&mut stage, ("nothing", "nobody"), idle).map(drop)
    }

    /// Leases of peers that hold or await a lock end together.
    fn expiry(&mut self, what: &str, peers: usize, lock: &str) -> anyhow::Result<()> {
        let mut stage = Stage::open(self.yard, &[])?;
        stage.server.take(TAKEN)?;
        let Some((end, ids)) = stage.ending_together(peers, Some(lock))? else { return Ok(()) };
        clock::sleep_until(end - RUN_UP);
        let among = format!("{} peers", Short(peers));
        self.watch(&mut stage, (what, &among), |_| {
            clock::sleep_until(end + RUN_UP);
            Ok(())
        })?;
        stage.ensure_gone(&ids)
    }

    /// Idle peers expire together with the holder of a mutex for which peers wait whose leases have no
    /// length: each is granted the mutex and gone in the same step, and the next one as well.
    fn chain(&mut self, peers: usize, links: usize) -> anyhow::Result<()> {
        let mut stage = Stage::open(self.yard, &[])?;
        let chain = populate(&mut stage.engine, links, Lease::Long, None)?;
        let Some((end, idle)) = stage.ending_together(peers, None)? else { return Ok(()) };
        let after_the_first = Lease::Until(end + Duration::from_micros(200));
        let holder = populate(&mut stage.engine, 1, after_the_first, Some(MUTEX))?;
        let mut engine = Engine::connect(stage.server.address, links)?;
        let mut waits = Waits { peers: &chain, asked: 0 };
        let among = format!("{} peers", Short(peers));
        let what = format!("expiry and a chain of {}", Short(links));
        self.watch(&mut stage, (&what, &among), |_| {
            engine.run(&mut waits)?;
            clock::sleep_until(end + MARGIN);
            Ok(())
        })?;
        stage.ensure_gone(&idle)?;
        stage.ensure_gone(&chain)?;
        stage.ensure_gone(&holder)
    }

    /// Somebody lists all peers.
    fn list(&mut self, peers: usize) -> anyhow::Result<()> {
        let mut stage = Stage::open(self.yard, &[])?;
        populate(&mut stage.engine, peers, Lease::Long, Some(AMPLE))?;
        let among = format!("{} peers", Short(peers));
        self.watch_and_time(&mut stage, ("list of peers", &among), |stage| {
            stage.ensure_lists("/peers/", peers)
        })
    }

    /// Somebody lists those who wait for a semaphore; then its maximum is raised, so that all of them
    /// are granted what they wait for, and lowered below what they hold.
    fn waiters(&mut self, peers: usize) -> anyhow::Result<()> {
        let mut stage = Stage::open(self.yard, &[])?;
        stage.server.take(TAKEN)?;
        populate(&mut stage.engine, peers, Lease::Long, Some(TAKEN))?;
        let among = format!("{} waiters", Short(peers));
        self.watch_and_time(&mut stage, ("list of a semaphore", &among), |stage| {
            stage.ensure_lists(&format!("/semaphores/{TAKEN}"), peers)
        })?;
        let (lower, all) = (2, peers as u64 + 1);
        let semaphore = |max| [(TAKEN.to_owned(), max)];
        self.watch_and_time(&mut stage, ("maximum raised", &among), |stage| {
            stage.server.reload(&semaphore(all))?;
            stage.ensure_left(TAKEN, "0")
        })?;
        let among = format!("{} holders", Short(peers));
        self.watch_and_time(&mut stage, ("maximum lowered", &among), |stage| {
            stage.server.reload(&semaphore(lower))?;
            stage.ensure_left(TAKEN, &format!("-{}", all - lower))
        })
    }
}

impl Stage {
    /// The first and the last of these peers are not known any more.
    fn ensure_gone(&self, peers: &[u64]) -> anyhow::Result<()> {
        for peer in peers.first().into_iter().chain(peers.last()) {
            let mut request = Request::default();
            request.heartbeat(*peer, LONG);
            let refusal = self.server.ask(&request).err().context("a peer outlived its lease")?;
            ensure!(refusal.to_string().contains("Unknown peer"), "{refusal}");
        }
        Ok(())
    }

    /// A list has so many entries at least, by its length.
    pub(super) fn ensure_lists(&self, path: &str, entries: usize) -> anyhow::Result<()> {
        let length = self.server.read(path)?;
        ensure!(length > entries * LEAST_ENTRY, "{path} has {length} bytes only");
        Ok(())
    }

    fn ensure_left(&self, semaphore: &str, expected: &str) -> anyhow::Result<()> {
        let mut request = Request::default();
        request.remainder(semaphore);
        let left = self.server.ask(&request)?;
        let left = String::from_utf8_lossy(&left);
        ensure!(left == expected, "of {semaphore} {left} is left, not {expected}");
        Ok(())
    }
}

/// Peers wait for the mutex, each on a connection of its own, with leases that have no length.
struct Waits<'a> {
    peers: &'a [u64],
    asked: usize,
}

impl Load for Waits<'_> {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        // Connections begin in their order, and each of them asks once.
        if connection < self.asked {
            return false;
        }
        self.asked += 1;
        request.acquire(self.peers[connection], MUTEX, "?expires_in=0s&block_for=1h");
        true
    }

    fn answer(&mut self, _: usize, answer: Answer<'_>, _: Times) -> anyhow::Result<()> {
        // Granted; or, when the answer was made, gone already.
        answer.expect(&[200, 400]).map(drop)
    }
}

/// No entry of a list is shorter, in bytes.
const LEAST_ENTRY: usize = 16;

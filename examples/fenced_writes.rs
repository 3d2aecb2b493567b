//! A worker that is paused for longer than its lease wakes up and writes, although somebody else holds its lock. The
//! resource refuses that late write by the fencing token: once by comparing tokens, which is right for a mutex, and once
//! by asking the server, which is right for every semaphore.
//!
//! Run with `cargo run -p throttle-examples --example fenced_writes`, which starts its own server. To use a running
//! server with a mutex `B` and a semaphore `A` of several, such as one with `configs/throttle.toml`:
//! `cargo run -p throttle-examples --example fenced_writes -- http://localhost:8000`.

#![expect(clippy::print_stdout, reason = "an example prints what happens")]

use std::{env, sync::Mutex, time::Duration};

use anyhow::{Context as _, bail, ensure};
use throttle_client::{Client, Lock, Peer};

mod serve;

/// Short, so that the example is. A lease should be longer than the pauses that are expected.
const LEASE: Duration = Duration::from_secs(1);

/// Longer than the end of a lease takes.
const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = match env::args().nth(1) {
        Some(url) => url,
        None => serve::semaphores(&[("A", 2, 0), ("B", 1, 1)]).await?,
    };
    let throttle = Client::new(&url)?;
    a_mutex(&throttle).await?;
    a_semaphore_of_several(&throttle).await
}

/// One holder at a time: the latest token is the only right one.
async fn a_mutex(throttle: &Client) -> anyhow::Result<()> {
    println!("The mutex B: the ledger compares tokens.");
    let ledger = Ledger::default();
    let (ann, bob) = (paused_worker(throttle), Peer::new(throttle));

    let anns = ann.lock("B").wait_at_most(TIMEOUT).await?;
    ledger.write(token(&anns)?, "ann, in time")?;
    println!(
        "  ann has checked that she holds B ({}), and is paused before her next write",
        anns.is_held()
    );

    // Bob is granted the lock when the server has heard nothing of Ann for the length of her lease.
    let bobs = bob.lock("B").wait_at_most(TIMEOUT).await?;
    ledger.write(token(&bobs)?, "bob")?;

    match ledger.write(token(&anns)?, "ann, too late") {
        Err(error) => println!("  ann wakes up and writes, and is refused: {error}"),
        Ok(()) => bail!("two workers wrote at once"),
    }
    // Ann would have noticed at her next check, or here.
    println!("  ann releases the lock, and learns: {}", outcome(anns.release().await));
    bobs.release().await?;
    println!("  the ledger: {:?}", ledger.0.into_inner()?);
    Ok(())
}

/// Several holders at a time: each of their tokens is right, until its lock is lost.
async fn a_semaphore_of_several(throttle: &Client) -> anyhow::Result<()> {
    println!("The semaphore A, with several holders: the storage asks the server.");
    let storage = Storage { throttle: throttle.clone(), writes: Mutex::default() };
    let (ann, bob, cid) = (paused_worker(throttle), Peer::new(throttle), Peer::new(throttle));

    let anns = ann.lock("A").wait_at_most(TIMEOUT).await?;
    let bobs = bob.lock("A").wait_at_most(TIMEOUT).await?;
    storage.write(token(&bobs)?, "bob").await?;
    // Bob's token is greater. Comparing tokens would shut Ann out, although she holds her lock.
    storage.write(token(&anns)?, "ann, in time").await?;
    println!("  ann is paused before her next write, until the server has ended her lease");
    while throttle.is_held("A", token(&anns)?).await? {
        tokio::time::sleep(LEASE / 10).await;
    }

    // Cid has taken her place.
    let cids = cid.lock("A").wait_at_most(TIMEOUT).await?;
    storage.write(token(&cids)?, "cid").await?;
    match storage.write(token(&anns)?, "ann, too late").await {
        Err(error) => println!("  ann wakes up and writes, and is refused: {error}"),
        Ok(()) => bail!("more workers wrote at once than the semaphore admits"),
    }
    // Bob's token is neither the smallest nor the greatest, and his lock is held all the time.
    storage.write(token(&bobs)?, "bob").await?;
    bobs.release().await?;
    cids.release().await?;
    println!("  the storage: {:?}", storage.writes.into_inner()?);
    Ok(())
}

/// A peer that sends no heartbeats. It stands for a process in which nothing runs: stopped, suspended, or starved.
fn paused_worker(throttle: &Client) -> Peer {
    Peer::builder(throttle).lease(LEASE).heartbeat(false).label("worker", "ann").build()
}

fn token(lock: &Lock) -> anyhow::Result<u64> {
    lock.fencing_token().context("a server of version 0.5 has no fencing tokens")
}

fn outcome<E: std::fmt::Display>(released: Result<(), E>) -> String {
    released.map_or_else(|lost| lost.to_string(), |()| "nothing".to_owned())
}

/// A resource behind a mutex. It keeps the token with the data, and refuses a token that is smaller than the latest.
#[derive(Debug, Default)]
struct Ledger(Mutex<Vec<(u64, String)>>);

impl Ledger {
    fn write(&self, token: u64, entry: &str) -> anyhow::Result<()> {
        let mut entries = self.0.lock().expect("no writer panics");
        let latest = entries.last().map_or(0, |(token, _)| *token);
        ensure!(latest <= token, "the token {token} is older than {latest}");
        entries.push((token, entry.to_owned()));
        Ok(())
    }
}

/// A resource behind a semaphore of several. It writes only for those who hold the lock at this moment.
struct Storage {
    throttle: Client,
    writes: Mutex<Vec<String>>,
}

impl Storage {
    async fn write(&self, token: u64, text: &str) -> anyhow::Result<()> {
        // An error, such as an unreachable server, is no permission.
        let is_held = self.throttle.is_held("A", token).await?;
        ensure!(is_held, "the lock with the token {token} is not held");
        // The answer is about that moment, so the write follows at once.
        self.writes.lock().expect("no writer panics").push(text.to_owned());
        Ok(())
    }
}

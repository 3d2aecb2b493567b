//! A worker that shares a resource: it waits for a lock, works while it holds it, stops at once if the lock is
//! lost, and sends its fencing token to the resource.
//!
//! Run with `cargo run -p throttle-examples --example worker`, which starts its own server. To use a running
//! server with a semaphore `B`, such as one with `configs/throttle.toml`:
//! `cargo run -p throttle-examples --example worker -- http://localhost:8000`.

#![expect(clippy::print_stdout, reason = "an example prints what happens")]

use std::{env, sync::Mutex, time::Duration};

use anyhow::ensure;
use throttle_client::{Client, LockError, Peer, PeerStatus};

mod serve;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = match env::args().nth(1) {
        Some(url) => url,
        None => serve::semaphores(&[("B", 1, 0)]).await?,
    };
    let throttle = Client::new(&url)?;
    let ledger = Ledger::default();

    // Each worker is a peer of its own. While this process lives, the client renews their leases. If it
    // dies, its locks are granted to others after half a minute at most.
    let worker = |name: &'static str| {
        Peer::builder(&throttle).lease(Duration::from_secs(30)).label("worker", name).build()
    };
    let (ann, bob) = (worker("ann"), worker("bob"));
    tokio::try_join!(work("ann", &ann, &ledger), work("bob", &bob, &ledger))?;

    // A wait can be limited.
    let held = ann.lock("B").await?;
    match bob.lock("B").wait_at_most(Duration::from_millis(100)).await {
        Err(LockError::NotInTime { .. }) => println!("bob does something else meanwhile"),
        other => println!("bob did not expect {other:?}"),
    }
    held.release().await?;

    // Removes the peers now, rather than at the end of their leases.
    ann.close().await;
    bob.close().await;

    // A program that rarely needs a lock can do without a peer of its own.
    throttle.lock("B").await?.release().await?;
    let is_worker = |peer: &PeerStatus| peer.labels.contains_key("worker");
    ensure!(!throttle.peers().await?.iter().any(is_worker), "a worker left something behind");
    println!("the ledger: {:?}", ledger.0.into_inner()?);
    Ok(())
}

async fn work(name: &str, peer: &Peer, ledger: &Ledger) -> anyhow::Result<()> {
    let lock = peer.lock("B").await?;
    let token = lock.fencing_token().unwrap_or_default();
    println!("{name} holds B with token {token}");

    // If the lock is lost, the work is stopped and an error returned.
    lock.run(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ledger.write(token, name)
    })
    .await??;

    // An error here means that the lock was lost before the work was done, so the work may need a check.
    lock.release().await?;
    println!("{name} is done");
    Ok(())
}

/// The resource that the lock protects. It rejects a token that is older than the newest one it has seen, so a
/// worker that was suspended while its lease ended cannot do harm.
#[derive(Debug, Default)]
struct Ledger(Mutex<Vec<(u64, String)>>);

impl Ledger {
    fn write(&self, token: u64, entry: &str) -> anyhow::Result<()> {
        let mut entries = self.0.lock().expect("no writer panics");
        let newest = entries.last().map_or(0, |(token, _)| *token);
        ensure!(newest <= token, "token {token} is stale, {newest} was seen already");
        entries.push((token, entry.to_owned()));
        Ok(())
    }
}

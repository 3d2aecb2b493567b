//! A worker that takes its turn at a scarce resource: it waits for a lock, works as long as it has it,
//! stops at once should it lose it, and shows its fencing token to what it works on.
//!
//! Run with `cargo run -p throttle-examples --example worker`, which brings a server of its own, or
//! against one that serves a semaphore `B`, as `configs/throttle.toml` does:
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

    // Independent workers are peers of their own. Should this process die, others wait for half a
    // minute at most; as long as it lives, the lock stays its own.
    let worker = |name: &'static str| {
        Peer::builder(&throttle).lease(Duration::from_secs(30)).label("worker", name).build()
    };
    let (ann, bob) = (worker("ann"), worker("bob"));
    tokio::try_join!(work("ann", &ann, &ledger), work("bob", &bob, &ledger))?;

    // Whoever does not want to wait does not have to.
    let held = ann.lock("B").await?;
    match bob.lock("B").wait_at_most(Duration::from_millis(100)).await {
        Err(LockError::NotInTime { .. }) => println!("bob does something else meanwhile"),
        other => println!("bob did not expect {other:?}"),
    }
    held.release().await?;

    // The server need not wait for the leases to end.
    ann.close().await;
    bob.close().await;

    // A lock that is taken now and then needs no peer that stays.
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

    // Ends with an error, and without finishing the work, if the lock is lost.
    lock.run(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ledger.write(token, name)
    })
    .await??;

    // An error says that the lock was lost after all; then the work may have to be looked at.
    lock.release().await?;
    println!("{name} is done");
    Ok(())
}

/// What the lock protects. It takes nothing from whoever comes with an older token than it has seen:
/// a worker that was asleep while its lease ended cannot do harm.
#[derive(Debug, Default)]
struct Ledger(Mutex<Vec<(u64, String)>>);

impl Ledger {
    fn write(&self, token: u64, entry: &str) -> anyhow::Result<()> {
        let mut entries = self.0.lock().expect("nobody panics while writing");
        let newest = entries.last().map_or(0, |(token, _)| *token);
        ensure!(newest <= token, "token {token} is stale, {newest} was seen already");
        entries.push((token, entry.to_owned()));
        Ok(())
    }
}

//! The interface call by call: two peers that share a mutex, one holds it, the other waits for it.
//! Whoever wants locks that stay alive by themselves looks at `worker.rs`.
//!
//! Run with `cargo run -p throttle-examples --example client`, which brings a server of its own, or
//! against one that serves a semaphore `B`, as `configs/throttle.toml` does:
//! `cargo run -p throttle-examples --example client -- http://localhost:8000`.

#![expect(clippy::print_stdout, reason = "an example prints what happens")]

use std::{env, time::Duration};

use throttle_client::{Admission, Client, Code};

mod serve;

/// Should a worker die, its locks pass to others after this time. One that works for longer sends
/// heartbeats.
const LEASE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = match env::args().nth(1) {
        Some(url) => url,
        None => serve::semaphores(&[("B", 1, 0)]).await?,
    };
    let throttle = Client::new(&url)?;
    println!("the server at {url} has version {}", throttle.version().await?);

    let ann = throttle.new_peer(LEASE).labels([("worker", "ann")]).await?;
    let bob = throttle.new_peer(LEASE).labels([("worker", "bob")]).await?;

    // Ann has it at once, if it is free.
    report("ann", throttle.acquire(ann, "B", 1).block_for(LEASE / 3).await?);

    // Bob's request is answered when Ann gives it back, not before and not later.
    let waiting = tokio::spawn({
        let throttle = throttle.clone();
        async move { throttle.acquire(bob, "B", 1).block_for(LEASE / 3).await }
    });
    println!("ann works while bob waits");
    tokio::time::sleep(Duration::from_millis(200)).await;
    throttle.heartbeat(ann, LEASE).await?;
    throttle.release(ann, "B").await?;
    report("bob", waiting.await??);

    // Errors have codes to branch on.
    let refused = throttle.acquire(ann, "B", 1_000_000).await;
    if let Err(error) = refused
        && error.code() == Some(Code::NeverAcquirable)
    {
        println!("ann asks for too much: {error}");
    }

    for peer in [ann, bob] {
        throttle.remove_peer(peer).await?;
    }
    println!("both are gone, and {} of B is free", throttle.remainder("B").await?);
    Ok(())
}

fn report(name: &str, admission: Admission) {
    match admission {
        // Whatever the mutex protects can reject a worker whose token is less than one it has seen.
        Admission::Granted { token: Some(token) } => println!("{name} holds B with token {token}"),
        Admission::Granted { token: None } => println!("{name} holds B"),
        Admission::Queued => {
            println!("{name} has waited in vain, and keeps the place in the queue")
        }
    }
}

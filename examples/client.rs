//! The HTTP interface, one call for each request: two peers share a mutex, one holds it and the other waits.
//! See `worker.rs` for locks that the client keeps alive.
//!
//! Run with `cargo run -p throttle-examples --example client`, which starts its own server. To use a running
//! server with a semaphore `B`, such as one with `configs/throttle.toml`:
//! `cargo run -p throttle-examples --example client -- http://localhost:8000`.

#![expect(clippy::print_stdout, reason = "an example prints what happens")]

use std::{env, time::Duration};

use throttle_client::{Admission, Client, Code};

mod serve;

/// If a worker dies, its locks are granted to others after this time. Longer work needs heartbeats.
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

    // Ann is granted the lock at once, if it is free.
    report("ann", throttle.acquire(ann, "B", 1).block_for(LEASE / 3).await?);

    // Bob's request is answered as soon as Ann releases the lock.
    let waiting = tokio::spawn({
        let throttle = throttle.clone();
        async move { throttle.acquire(bob, "B", 1).block_for(LEASE / 3).await }
    });
    println!("ann works while bob waits");
    tokio::time::sleep(Duration::from_millis(200)).await;
    throttle.heartbeat(ann, LEASE).await?;
    throttle.release(ann, "B").await?;
    report("bob", waiting.await??);

    // Programs branch on the code of an error.
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
        // The resource that the mutex protects can reject a token that is less than one it has seen.
        Admission::Granted { token: Some(token) } => println!("{name} holds B with token {token}"),
        Admission::Granted { token: None } => println!("{name} holds B"),
        Admission::Queued => {
            println!("{name} has waited in vain, and keeps the place in the queue")
        }
    }
}

//! Semaphores among the tasks of one process, without HTTP: three crawlers share two connections.
//!
//! Run with `cargo run -p throttle-examples --example in_process`.

#![expect(clippy::print_stdout, reason = "the example shows what happens")]

use std::{collections::BTreeMap, time::Duration};

use throttle_runtime::{
    Admission, Count, Handle, Labels, Level, LockRequest, SemaphoreConfig, Settings,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connections = SemaphoreConfig { max: Count::new(2).expect("not zero"), level: Level(0) };
    let semaphores = BTreeMap::from([("connections".to_owned(), connections)]);
    let throttle = Handle::start(Settings::default(), &semaphores);

    let crawlers = ["ann", "bob", "cid"].map(|name| tokio::spawn(crawl(throttle.clone(), name)));
    for crawler in crawlers {
        crawler.await??;
    }

    println!("free connections: {}", throttle.remainder("connections").await?);
    Ok(())
}

async fn crawl(throttle: Handle, name: &'static str) -> anyhow::Result<()> {
    // If this task hangs for more than ten seconds, its locks are granted to others.
    let lease = Duration::from_secs(10);
    let labels = Labels::from_iter([("name".to_owned(), name.to_owned())]);
    let peer = throttle.new_peer(lease, labels).await?;

    let block_for = Some(Duration::from_secs(5));
    let request = LockRequest { block_for, ..LockRequest::now(Count::ONE) };
    match throttle.acquire(peer, "connections", request).await? {
        Admission::Granted { token, .. } => {
            println!("{name} connects, fencing token {token}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Admission::Queued { .. } => println!("{name} gives up"),
    }

    // Releases all locks of the peer, and cancels a pending one.
    throttle.remove_peer(peer, None).await?;
    Ok(())
}

//! Locks within locks, in a program that is not asynchronous: a job needs one of three licences, and
//! for a part of it the database as well. Levels make sure that no two jobs wait for each other.
//!
//! Run with `cargo run -p throttle-examples --example nested_locks`, which brings a server of its own.

#![expect(clippy::print_stdout, reason = "an example prints what happens")]

use std::{thread, time::Duration};

use throttle_client::{Client, Code, blocking};

mod serve;

/// How long a job waits before it gives up.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

fn main() -> anyhow::Result<()> {
    // Whoever holds a lock may take another one of a lower level only.
    let url = blocking::wait(serve::semaphores(&[("licence", 3, 1), ("database", 1, 0)]))?;
    let throttle = Client::new(&url)?;

    let jobs: Vec<_> = (1..=5)
        .map(|number| {
            let throttle = throttle.clone();
            thread::spawn(move || job(number, &throttle))
        })
        .collect();
    for job in jobs {
        job.join().expect("a job returns its errors")?;
    }

    // The wrong order is refused at once, not when two jobs stand in each other's way.
    let peer = blocking::Peer::new(&throttle);
    let database = peer.lock("database", 1, PATIENCE)?;
    let refused = peer.lock("licence", 1, PATIENCE).expect_err("it is above the database");
    assert_eq!(refused.code(), Some(Code::LockHierarchyViolation));
    println!("the other way round: {:#}", anyhow::Error::from(refused));
    database.release()?;
    peer.close();
    assert_eq!(blocking::wait(throttle.peers())?, [], "nobody has left anything behind");
    println!("free: {} licences", blocking::wait(throttle.remainder("licence"))?);
    Ok(())
}

fn job(number: u32, throttle: &Client) -> anyhow::Result<()> {
    let peer = blocking::Peer::new(throttle);
    let licence = peer.lock("licence", 1, PATIENCE)?;
    println!("job {number} has a licence");
    let database = peer.lock("database", 1, PATIENCE)?;
    println!("job {number} has the database, too");
    database.release()?;
    // Work in steps asks in between whether there is still a lock.
    licence.check()?;
    licence.release()?;
    peer.close();
    Ok(())
}

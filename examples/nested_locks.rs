//! Nested locks in a program without async: a job needs one of three licences, and for some of its work the
//! database as well. Levels prevent two jobs from waiting for each other.
//!
//! Run with `cargo run -p throttle-examples --example nested_locks`, which starts its own server.

#![expect(clippy::print_stdout, reason = "an example prints what happens")]

use std::{thread, time::Duration};

use throttle_client::{Client, Code, blocking};

mod serve;

/// How long a job waits before it gives up.
const LOCK_TIMEOUT: Option<Duration> = Some(Duration::from_secs(10));

fn main() -> anyhow::Result<()> {
    // A peer that holds a lock may only acquire semaphores of lower levels.
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

    // The wrong order is refused at once, even if no other job is running.
    let peer = blocking::Peer::new(&throttle);
    let database = peer.lock("database", 1, LOCK_TIMEOUT)?;
    let refused = peer.lock("licence", 1, LOCK_TIMEOUT).expect_err("it is above the database");
    assert_eq!(refused.code(), Some(Code::LockHierarchyViolation));
    println!("the other way round: {:#}", anyhow::Error::from(refused));
    database.release()?;
    peer.close();
    assert_eq!(blocking::wait(throttle.peers())?, [], "no peer is left");
    println!("free: {} licences", blocking::wait(throttle.remainder("licence"))?);
    Ok(())
}

fn job(number: u32, throttle: &Client) -> anyhow::Result<()> {
    let peer = blocking::Peer::new(throttle);
    let licence = peer.lock("licence", 1, LOCK_TIMEOUT)?;
    println!("job {number} has a licence");
    let database = peer.lock("database", 1, LOCK_TIMEOUT)?;
    println!("job {number} has the database, too");
    database.release()?;
    // Work that is done in steps checks between them whether the lock is still held.
    licence.check()?;
    licence.release()?;
    peer.close();
    Ok(())
}

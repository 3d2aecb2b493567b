//! The state machine alone, inside another program: a job scheduler that simulates its clock.
//!
//! Two workers share a GPU. Bob dies during his second job while he holds it, and Ann is granted the GPU when
//! his lease ends. There is no server, no thread and no async, so an hour takes microseconds.
//!
//! Run with `cargo run -p throttle-examples --example embedded`.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{collections::BTreeMap, time::Duration};

use throttle_core::{Count, Error, Event, Level, LockRequest, PeerId, Settings, Throttle, Time};

fn main() -> Result<(), Error> {
    let mut throttle = Throttle::new(Settings::default());
    let gpu = throttle.add_semaphore(Time::ZERO, Count::ONE, Level(0));
    let [ann, bob] = [1, 2].map(|id| PeerId::new(id).expect("not zero"));
    // The length of each job in seconds, the next one last. One job never ends.
    let mut jobs = BTreeMap::from([(ann, vec![1, 3, 2]), (bob, vec![u64::MAX, 4])]);
    let mut ends: Option<(Time, PeerId)> = None;

    // The lease of an attended request does not run during the wait; it begins with the grant.
    let request = LockRequest { attended: true, ..(gpu, Count::ONE).into() };
    for worker in [ann, bob] {
        throttle.new_peer(Time::ZERO, worker, Duration::from_secs(10))?;
        throttle.acquire(Time::ZERO, worker, request)?;
    }

    loop {
        let clock = (throttle.now() - Time::ZERO).as_secs();
        while let Some(event) = throttle.poll_event() {
            match event {
                Event::Granted { peer, token, .. } => {
                    println!("{clock:2} s: worker {peer} has the GPU, fencing token {token}");
                    let job = jobs
                        .get_mut(&peer)
                        .and_then(Vec::pop)
                        .expect("a worker that requests the GPU has a job");
                    ends = Some((throttle.now() + Duration::from_secs(job), peer));
                }
                Event::Expired { peer, .. } => println!("{clock:2} s: worker {peer} is lost"),
                _ => {}
            }
        }
        // Advance the clock to the next end of a job or the next deadline.
        let end = ends.map(|(end, _)| end).filter(|&end| end < Time::MAX);
        let Some(now) = end.into_iter().chain(throttle.poll_timeout()).min() else { break };
        throttle.expire(now);
        if let Some((_, worker)) = ends.take_if(|(end, _)| *end == now) {
            throttle.release(now, worker, gpu, None)?;
            if jobs[&worker].is_empty() {
                throttle.remove_peer(now, worker, None);
            } else {
                throttle.acquire(now, worker, request)?;
            }
        }
    }
    Ok(())
}

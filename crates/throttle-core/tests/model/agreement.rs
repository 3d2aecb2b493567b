//! The machine and the model give the same answers and events, and show the same state.

use arbitrary::{Result, Unstructured};
use throttle_core::Reply;

use crate::{
    coverage::Coverage,
    life::{drain, lives},
    naive::{Minted, Model},
    recovery::recover,
    snapshot::Snapshot,
    world::World,
};

#[test]
fn the_machine_does_what_the_specification_says() {
    let mut seen = Coverage::default();
    let lived = lives(LIVES, |u| life(u).map(|new| seen.add(&new)));
    if lived >= LIVES {
        seen.assert_complete(AT_LEAST);
    }
}

/// One life, compared at every step. Returns what it covered.
fn life(u: &mut Unstructured<'_>) -> Result<Coverage> {
    let mut world = World::arbitrary(u)?;
    let mut throttle = world.throttle();
    let mut model = Model::new(world.settings(), world.token_floor());
    while !u.is_empty() {
        // A peer with a lease of zero length would expire before its semaphore gets its deferred level.
        let hasty = throttle.peers(None).any(|(_, peer)| peer.expires_in.is_zero());
        if !hasty && let Some(now) = world.crash(u)? {
            let now = now.max(throttle.now());
            throttle = recover(&throttle, world.settings(), world.semaphores(), now, false);
            let events = drain(&mut throttle);
            world.observe_events(&events);
            let minted = Minted::by(&Ok(Reply::Done), &events);
            assert_eq!(events, model.recover(now, minted), "recovered at {now:?}");
            let seen = Snapshot::of(&throttle, world.semaphores());
            assert_eq!(seen, model.snapshot(), "recovered at {now:?}");
            throttle.validate();
        }
        let (now, command) = world.next(u)?;
        let reply = throttle.apply(now, command.clone());
        let events = drain(&mut throttle);
        world.observe(&command, &reply, &events);
        let expected = model.apply(now, &command, Minted::by(&reply, &events));
        assert_eq!((reply, events), expected, "{command:?} at {now:?}");
        let seen = Snapshot::of(&throttle, world.semaphores());
        assert_eq!(seen, model.snapshot(), "after {command:?} at {now:?}");
        if let Some(first) = model.timeout() {
            let timeout = throttle.poll_timeout();
            assert!(
                timeout.is_some_and(|timeout| timeout <= first),
                "{timeout:?} misses {first:?}"
            );
        }
        throttle.validate();
    }
    Ok(model.seen)
}

const LIVES: u64 = 1_000;
const AT_LEAST: u64 = 10;

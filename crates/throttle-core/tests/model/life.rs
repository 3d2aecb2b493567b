//! A life: commands from a world, applied to a machine one after the other.

use std::env;

use arbitrary::{Result, Unstructured};
use throttle_core::{Command, Error, Event, Reply, Throttle, Time};

use crate::{snapshot::Snapshot, world::World};

/// One command, with the state before and after it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) now: Time,
    pub(crate) command: Command,
    /// What happened because time passed before the command.
    pub(crate) meanwhile: Vec<Event>,
    pub(crate) before: Snapshot,
    pub(crate) reply: std::result::Result<Reply, Error>,
    pub(crate) events: Vec<Event>,
    pub(crate) after: Snapshot,
}

/// Runs one life. Calls `check` after every step, while the machine is still as the step left it.
pub(crate) fn live(
    u: &mut Unstructured<'_>,
    mut check: impl FnMut(&mut Throttle, &Step),
) -> Result<()> {
    let mut world = World::arbitrary(u)?;
    let mut throttle = world.throttle();
    while !u.is_empty() {
        let (now, command) = world.next(u)?;
        // A CatchUp command lets time pass itself, and may leave a backlog.
        if !matches!(command, Command::CatchUp { .. }) {
            throttle.expire(now);
        }
        let meanwhile = drain(&mut throttle);
        let before = Snapshot::of(&throttle, world.semaphores());
        let reply = throttle.apply(now, command.clone());
        let events = drain(&mut throttle);
        world.observe(&command, &reply, &[&*meanwhile, &events].concat());
        let after = Snapshot::of(&throttle, world.semaphores());
        check(&mut throttle, &Step { now, command, meanwhile, before, reply, events, after });
        world.observe_events(&drain(&mut throttle));
    }
    Ok(())
}

pub(crate) fn drain(throttle: &mut Throttle) -> Vec<Event> {
    std::iter::from_fn(|| throttle.poll_event()).collect()
}

/// Runs this many lives, or `THROTTLE_LIVES` if that is set. Returns how many.
///
/// They are the same in every run with the same `THROTTLE_SEED`. If a life fails, its seed is printed;
/// `ARBTEST_SEED` runs that one alone.
pub(crate) fn lives(
    number: u64,
    mut property: impl FnMut(&mut Unstructured<'_>) -> Result<()>,
) -> u64 {
    if env::var_os("ARBTEST_SEED").is_some() {
        arbtest::arbtest(property).run();
        return 1;
    }
    let number = setting("THROTTLE_LIVES").unwrap_or(number);
    let first = setting("THROTTLE_SEED").unwrap_or_default() << u32::BITS;
    for life in first..first + number {
        // The lower half of a seed is the length of the life in bytes, the upper half is random.
        let size = 256 << (life % 4);
        let random = (life + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> u32::BITS;
        arbtest::arbtest(&mut property).seed(random << u32::BITS | size).run();
    }
    number
}

fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

//! Promises that can be checked without a model.

use std::{collections::BTreeMap, time::Duration};

use arbitrary::{Result, Unstructured};
use throttle_core::{
    Admission, Command, Error, Event, LockRequest, PeerId, Release, Reply, SemaphoreId, Throttle,
    Time,
};

use crate::{
    ledger::Ledger,
    life::{Step, drain, live, lives},
    snapshot::Snapshot,
    world::World,
};

/// S1. Only a restored lock comes in above the maximum.
#[test]
fn nothing_is_granted_beyond_the_maximum() {
    lives(LIVES, |u| {
        let mut ledger = Ledger::default();
        live(u, |_, step| {
            ledger.enter(step, |grant| {
                let held = grant.account.held() + u128::from(grant.count.get());
                let fits = held <= u128::from(grant.account.max.get());
                assert!(fits || grant.restored, "{grant:?} by {:?}", step.command);
            });
        })
    });
}

/// S2, S15.
#[test]
fn nobody_overtakes_anybody_but_the_parked() {
    lives(LIVES, |u| {
        let mut ledger = Ledger::default();
        live(u, |_, step| {
            ledger.enter(step, |grant| {
                let line = &grant.account.line;
                let next = line.iter().find(|waiter| !waiter.parked).map(|waiter| waiter.peer);
                let in_order = next.is_none_or(|next| next == grant.peer);
                assert!(in_order || grant.restored, "{grant:?} by {:?}", step.command);
                let absent = line.iter().any(|waiter| waiter.parked && waiter.peer == grant.peer);
                assert!(!absent, "{grant:?} to somebody who is not there");
            });
        })
    });
}

/// S3.
#[test]
fn nobody_waits_for_what_is_free() {
    lives(LIVES, |u| {
        live(u, |_, step| {
            for semaphore in &step.after.semaphores {
                let free = i128::from(semaphore.status.remainder());
                if let Some((_, next)) = semaphore.waiters.iter().find(|(_, lock)| !lock.parked) {
                    let wanted = i128::from(next.count.get());
                    assert!(wanted > free, "{semaphore:?} after {:?}", step.command);
                }
            }
        })
    });
}

/// S4.
#[test]
fn saying_it_again_changes_nothing_and_gets_the_same_answer() {
    lives(LIVES, |u| live(u, repeat));
}

fn repeat(throttle: &mut Throttle, step: &Step) {
    let again = match step.command {
        Command::Acquire { .. } | Command::Heartbeat { .. } | Command::Restore(_) => step.reply,
        Command::Release { .. } => step.reply.map(|_| Reply::Released(Release::Nothing)),
        Command::RemovePeer { .. } => Ok(Reply::Removed(false)),
        _ => return,
    };
    // Who asked for a lease of no time is gone by the time they say it again.
    let hasty = step.after.peers.iter().any(|peer| peer.expires_in.is_zero());
    if hasty || throttle.expire(step.now) {
        return;
    }
    assert_eq!(throttle.apply(step.now, step.command.clone()), again, "{:?}", step.command);
    assert_eq!(drain(throttle), [], "{:?}", step.command);
    let semaphores: Vec<_> = step.after.semaphores.iter().map(|known| known.id).collect();
    let seen = Snapshot::of(throttle, &semaphores);
    assert_eq!(seen, step.after, "{:?}", step.command);
}

/// S6. Whoever waits for nothing can go on and give back what it holds; that must set free everybody.
#[test]
fn nobody_waits_in_a_circle() {
    lives(LIVES, |u| {
        live(u, |_, step| {
            let mut stuck: Vec<_> = step.after.peers.iter().map(|peer| peer.id).collect();
            while let Some(free) = stuck.iter().position(|&peer| !waits_for(step, peer, &stuck)) {
                stuck.swap_remove(free);
            }
            assert_eq!(stuck, [], "after {:?}", step.command);
        })
    });
}

/// Whether `peer` cannot go on before one of `others` has.
fn waits_for(step: &Step, peer: PeerId, others: &[PeerId]) -> bool {
    let pending = step.after.peer(peer).and_then(|peer| peer.pending);
    pending.is_some_and(|pending| {
        let mut known = step.after.semaphores.iter();
        let semaphore = known.find(|known| known.id == pending.semaphore).expect("it exists");
        let holders = semaphore.holders.iter().map(|&(holder, _)| holder);
        let earlier = semaphore.waiters.iter().map(|&(waiter, _)| waiter);
        holders.chain(earlier.take_while(|&waiter| waiter != peer)).any(|one| others.contains(&one))
    })
}

/// S8. To let time pass in several steps or in one is the same, and so is what is told of it.
#[test]
fn expiry_composes() {
    lives(LIVES, |u| {
        let mut world = World::arbitrary(u)?;
        let (mut once, mut stepwise) = (world.throttle(), world.throttle());
        while !u.is_empty() {
            let (now, command) = match world.next(u)? {
                // Leases that begin with it begin at the present, which the other one was not told.
                (now, Command::CatchUp { .. }) => (now, Command::Expire),
                next => next,
            };
            let mut told = Vec::new();
            for _ in 0..u.int_in_range(0..=2)? {
                let before = instant_until(now, &stepwise, u)?;
                if u.arbitrary()? {
                    stepwise.expire(before);
                } else {
                    told.extend(drain(&mut stepwise));
                    stepwise.expire(before);
                    told.extend(drain(&mut stepwise));
                }
            }
            let replies = [&mut once, &mut stepwise].map(|one| one.apply(now, command.clone()));
            if command != Command::Expire {
                assert_eq!(replies[0], replies[1], "{command:?} at {now:?}");
            }
            let events = drain(&mut once);
            told.extend(drain(&mut stepwise));
            assert_eq!(events, told, "{command:?} at {now:?}");
            world.hear(&command, &replies[0], &events);
            let seen = [&once, &stepwise].map(|one| Snapshot::of(one, world.semaphores()));
            assert_eq!(seen[0], seen[1], "{command:?} at {now:?}");
        }
        Ok(())
    });
}

/// S8, S13. However little is done at a time, in the end the same has happened, and each time something
/// has.
#[test]
fn catching_up_in_parts_is_the_same_as_at_once() {
    lives(LIVES, |u| {
        let mut world = World::arbitrary(u)?;
        let (mut once, mut in_parts) = (world.throttle(), world.throttle());
        while !u.is_empty() {
            let (now, command) = world.next(u)?;
            let reached = once.catch_up(now, u32::MAX);
            let end = Time::from_nanos(u64::MAX - 1);
            assert!(reached >= now.min(end), "nothing is left of what is due");
            let mut told = Vec::new();
            let mut rounds = 0;
            while in_parts.catch_up_with(now, u.int_in_range(0..=3)?, |event| told.push(event))
                < reached
            {
                in_parts.validate();
                rounds += 1;
                assert!(rounds < 1_000, "a handful of peers cannot keep it busy for ever");
            }
            let events = drain(&mut once);
            assert_eq!(events, told, "{command:?} at {now:?}");
            world.hear_events(&events);
            let replies = [&mut once, &mut in_parts].map(|one| one.apply(now, command.clone()));
            assert_eq!(replies[0], replies[1], "{command:?} at {now:?}");
            let events = drain(&mut once);
            assert_eq!(events, drain(&mut in_parts), "{command:?} at {now:?}");
            world.hear(&command, &replies[0], &events);
            let seen = [&once, &in_parts].map(|one| Snapshot::of(one, world.semaphores()));
            assert_eq!(seen[0], seen[1], "{command:?} at {now:?}");
        }
        Ok(())
    });
}

/// S8. Also while there is a backlog, and whoever has to wait for their turn to leave.
#[test]
fn no_lease_is_shorter_than_was_promised() {
    let (mut ended, mut behind) = (0, 0);
    let lived = lives(LIVES, |u| {
        let (mut present, mut promised) = (Time::ZERO, BTreeMap::new());
        live(u, |_, step| {
            present = present.max(step.now);
            behind += u64::from(step.after.now < present);
            for event in step.meanwhile.iter().chain(&step.events) {
                match event {
                    Event::Expired { peer, .. } => {
                        ended += 1;
                        let until = promised.remove(peer);
                        let kept = until.is_none_or(|until| until <= present);
                        assert!(kept, "{peer} had until {until:?}, and it is {present:?}");
                    }
                    Event::Removed { peer, .. } => drop(promised.remove(peer)),
                    _ => {}
                }
            }
            if let Some((peer, expires_in)) = renewal(step) {
                promised.insert(peer, present + expires_in);
            }
        })
    });
    assert!(lived < LIVES || (ended > 1_000 && behind > 100), "{ended} ended, {behind} behind");
}

/// Who was told by the answer that its lease begins anew, and how long it is.
fn renewal(step: &Step) -> Option<(PeerId, Duration)> {
    match (&step.command, &step.reply) {
        (
            &Command::NewPeer { peer, expires_in, .. } | &Command::Heartbeat { peer, expires_in },
            Ok(_),
        ) => Some((peer, expires_in)),
        (Command::Restore(restoration), Ok(_)) => Some((restoration.peer, restoration.expires_in)),
        (_, Err(Error::StaleRequest { .. } | Error::UnknownPeer | Error::UnknownSemaphore)) => None,
        // Also if the lock is refused.
        (&Command::Acquire { peer, request }, _) => {
            request.expires_in.map(|expires_in| (peer, expires_in))
        }
        _ => None,
    }
}

/// An instant on the way to `now`; with luck one at which something happens.
fn instant_until(now: Time, throttle: &Throttle, u: &mut Unstructured<'_>) -> Result<Time> {
    let due = throttle.poll_timeout().filter(|&due| due <= now);
    if let Some(due) = due.filter(|_| u.arbitrary().unwrap_or_default()) {
        return Ok(due);
    }
    let seconds = Duration::from_secs(u.int_in_range(0..=20)?);
    Ok(now.min(throttle.now() + seconds))
}

/// S8.
#[test]
fn expiring_at_the_timeout_makes_progress() {
    lives(LIVES, |u| {
        let mut world = World::arbitrary(u)?;
        let mut throttle = world.throttle();
        while !u.is_empty() {
            let (now, command) = world.next(u)?;
            let reply = throttle.apply(now, command.clone());
            if u.ratio(1, 8)? {
                expire_next(&mut throttle);
            }
            world.hear(&command, &reply, &drain(&mut throttle));
        }
        let mut rounds = 0;
        while expire_next(&mut throttle) {
            rounds += 1;
            assert!(rounds < 1_000, "a handful of peers cannot keep it busy for ever");
        }
        // Those who are left wait for an answer, or live for ever.
        let seen = Snapshot::of(&throttle, world.semaphores());
        assert!(seen.peers.iter().all(|peer| peer.time_left == peer.expires_in), "{seen:?}");
        assert_all_is_free_without(seen, &mut throttle, world.semaphores());
        Ok(())
    });
}

/// Lets happen what is due next, if anything is.
fn expire_next(throttle: &mut Throttle) -> bool {
    let Some(due) = throttle.poll_timeout() else {
        return false;
    };
    let happened = throttle.expire(due);
    let later = throttle.poll_timeout().is_none_or(|next| next > due);
    assert!(happened || later, "nothing happened at {due:?}, nor does it go on later");
    true
}

/// When the last peer has gone, nothing is held or awaited.
fn assert_all_is_free_without(last: Snapshot, throttle: &mut Throttle, semaphores: &[SemaphoreId]) {
    for peer in last.peers {
        // Its turn may have come, and its lease with it, when an earlier one was removed.
        throttle.remove_peer(last.now, peer.id, None);
    }
    throttle.expire(last.now);
    assert_eq!(throttle.peer_count(), 0);
    for semaphore in Snapshot::of(throttle, semaphores).semaphores {
        assert_eq!(semaphore.status.held, 0);
        assert_eq!(semaphore.status.pending, 0);
        assert_eq!((semaphore.holders.len(), semaphore.waiters.len()), (0, 0));
    }
    throttle.validate();
}

/// S10, also for a semaphore that takes the place of one that was removed.
#[test]
fn tokens_of_a_semaphore_only_grow_and_stay_with_their_lock() {
    lives(LIVES, |u| {
        let mut ledger = Ledger::default();
        live(u, |_, step| {
            ledger.enter(step, |grant| {
                assert!(grant.account.last_token < Some(grant.token), "{grant:?}");
            });
            if let (
                &Command::Acquire { peer, request: LockRequest { semaphore, .. } },
                Ok(Reply::Admitted(Admission::Granted { count, token })),
            ) = (&step.command, step.reply)
            {
                let mut holders = ledger.account(semaphore).holders.iter();
                let held = holders.find(|holder| holder.peer == peer);
                assert_eq!(held.map(|holder| (holder.count, holder.token)), Some((count, token)));
            }
        })
    });
}

/// S12. Only a lease stays renewed if the request that renewed it is refused.
#[test]
fn refusals_leave_no_trace() {
    lives(LIVES, |u| {
        live(u, |throttle, step| {
            let refused = match step.reply {
                Err(_)
                | Ok(
                    Reply::Ended(None) | Reply::Released(Release::Nothing) | Reply::Removed(false),
                ) => true,
                Ok(_) => false,
            };
            if !refused {
                return;
            }
            let mut expected = step.before.clone();
            if let Command::Acquire { peer, request } = step.command
                && let Some(lease) = request.expires_in
                && !matches!(step.reply, Err(Error::StaleRequest { .. } | Error::UnknownSemaphore))
            {
                let mut peers = expected.peers.iter_mut();
                if let Some(peer) = peers.find(|known| known.id == peer) {
                    peer.expires_in = lease.min(Duration::from_nanos(u64::MAX));
                    peer.time_left = peer.expires_in;
                }
            }
            assert_eq!(step.events, [], "{:?}", step.command);
            assert_eq!(step.after, expected, "{:?}", step.command);
            throttle.validate();
        })
    });
}

/// S14. Hash maps may be in any order; nobody can tell.
#[test]
fn the_same_commands_have_the_same_results() {
    lives(LIVES, |u| {
        let mut world = World::arbitrary(u)?;
        let mut one = world.throttle().with_hash_seed(u.arbitrary()?);
        let mut other = world.throttle().with_hash_seed(u.arbitrary()?);
        while !u.is_empty() {
            let (now, command) = world.next(u)?;
            let reply = one.apply(now, command.clone());
            assert_eq!(reply, other.apply(now, command.clone()), "{command:?}");
            let events = drain(&mut one);
            assert_eq!(events, drain(&mut other), "{command:?}");
            world.hear(&command, &reply, &events);
            assert_eq!(one.poll_timeout(), other.poll_timeout(), "{command:?}");
            assert!(one.peers(None).eq(other.peers(None)), "{command:?}");
            let seen = Snapshot::of(&one, world.semaphores());
            assert_eq!(seen, Snapshot::of(&other, world.semaphores()), "{command:?}");
        }
        Ok(())
    });
}

/// Effects are facts: who only hears the events knows who holds what and who waits in which order.
#[test]
fn the_events_tell_the_whole_story() {
    lives(LIVES, |u| {
        let mut ledger = Ledger::default();
        live(u, |_, step| {
            ledger.enter(step, |_| {});
            ledger.assert_agrees_with(&step.after);
        })
    });
}

const LIVES: u64 = 200;

//! Promises that can be checked without a model.

use std::{collections::BTreeMap, time::Duration};

use arbitrary::{Result, Unstructured};
use throttle_core::{
    Admission, Command, Error, Event, LockRequest, NewPeer, PeerId, Release, Reply, SemaphoreId,
    Throttle, Time,
};

use crate::{
    ledger::Ledger,
    life::{Step, drain, live, lives},
    snapshot::Snapshot,
    world::World,
};

/// S1. Only a restored lock may exceed the maximum.
#[test]
fn nothing_is_granted_beyond_the_maximum() {
    lives(LIVES, |u| {
        let mut ledger = Ledger::default();
        live(u, |_, step| {
            ledger.apply(step, |grant| {
                let held = grant.account.held() + u128::from(grant.count.get());
                let fits = held <= u128::from(grant.account.max.get());
                assert!(fits || grant.restored, "{grant:?} by {:?}", step.command);
                assert!(!grant.account.retired, "{grant:?} by {:?}", step.command);
            });
        })
    });
}

/// S2, S15.
#[test]
fn only_parked_waiters_are_overtaken() {
    lives(LIVES, |u| {
        let mut ledger = Ledger::default();
        live(u, |_, step| {
            ledger.apply(step, |grant| {
                let queue = &grant.account.queue;
                let next = queue.iter().find(|waiter| !waiter.parked).map(|waiter| waiter.peer);
                let in_order = next.is_none_or(|next| next == grant.peer);
                assert!(in_order || grant.restored, "{grant:?} by {:?}", step.command);
                let parked = queue.iter().any(|waiter| waiter.parked && waiter.peer == grant.peer);
                assert!(!parked, "{grant:?} to a parked waiter");
            });
        })
    });
}

/// S3.
#[test]
fn no_waiter_waits_for_a_count_that_is_free() {
    lives(LIVES, |u| {
        live(u, |throttle, step| {
            if throttle.are_grants_suspended() {
                return;
            }
            for semaphore in &step.after.semaphores {
                let free = i128::from(semaphore.status.remainder());
                if let Some(next) = semaphore.waiters.iter().find(|waiter| !waiter.parked) {
                    let wanted = i128::from(next.count.get());
                    assert!(wanted > free, "{semaphore:?} after {:?}", step.command);
                }
            }
        })
    });
}

/// S4.
#[test]
fn repeating_a_request_changes_nothing_and_gives_the_same_answer() {
    lives(LIVES, |u| live(u, repeat));
}

fn repeat(throttle: &mut Throttle, step: &Step) {
    let again = match step.command {
        Command::Acquire { .. } | Command::Heartbeat { .. } | Command::Restore(_) => step.reply,
        // A retired semaphore is gone with its last lock.
        Command::Release { semaphore, .. } if step.events.contains(&removed(semaphore)) => {
            Err(Error::UnknownSemaphore)
        }
        Command::Release { .. } => step.reply.map(|_| Reply::Released(Release::Nothing)),
        Command::RemovePeer { .. } => Ok(Reply::Removed(false)),
        _ => return,
    };
    // A peer with a lease of zero length is gone before the repetition.
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

fn removed(semaphore: SemaphoreId) -> Event {
    Event::SemaphoreRemoved { semaphore }
}

/// S6. Peers that wait for nothing can release their locks. If they all do, again and again, no peer may
/// be left waiting.
#[test]
fn no_peers_wait_for_each_other_in_a_circle() {
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

/// Whether `peer` waits for a lock that one of `others` holds or is queued for earlier.
fn waits_for(step: &Step, peer: PeerId, others: &[PeerId]) -> bool {
    let pending = step.after.peer(peer).and_then(|peer| peer.pending);
    pending.is_some_and(|pending| {
        let mut known = step.after.semaphores.iter();
        let semaphore = known
            .find(|known| known.id == pending.semaphore)
            .expect("a pending lock has a semaphore");
        let holders = semaphore.holders.iter().map(|holder| holder.peer);
        let earlier = semaphore.waiters.iter().map(|waiter| waiter.peer);
        holders.chain(earlier.take_while(|&waiter| waiter != peer)).any(|one| others.contains(&one))
    })
}

/// S8. Advancing time in several steps or in one gives the same state and the same events.
#[test]
fn expiry_composes() {
    lives(LIVES, |u| {
        let mut world = World::arbitrary(u)?;
        let (mut once, mut stepwise) = (world.throttle(), world.throttle());
        while !u.is_empty() {
            let (now, command) = match world.next(u)? {
                // CatchUp makes leases begin at the present, which the other machine does not know.
                (now, Command::CatchUp { .. }) => (now, Command::Expire),
                next => next,
            };
            let mut stepwise_events = Vec::new();
            for _ in 0..u.int_in_range(0..=2)? {
                let before = instant_until(now, &stepwise, u)?;
                if u.arbitrary()? {
                    stepwise.expire(before);
                } else {
                    stepwise_events.extend(drain(&mut stepwise));
                    stepwise.expire(before);
                    stepwise_events.extend(drain(&mut stepwise));
                }
            }
            let replies = [&mut once, &mut stepwise].map(|one| one.apply(now, command.clone()));
            if command != Command::Expire {
                assert_eq!(replies[0], replies[1], "{command:?} at {now:?}");
            }
            let events = drain(&mut once);
            stepwise_events.extend(drain(&mut stepwise));
            assert_eq!(events, stepwise_events, "{command:?} at {now:?}");
            world.observe(&command, &replies[0], &events);
            let seen = [&once, &stepwise].map(|one| Snapshot::of(one, world.semaphores()));
            assert_eq!(seen[0], seen[1], "{command:?} at {now:?}");
        }
        Ok(())
    });
}

/// S8, S13. Catching up with any budgets has the same effect in the end, and each call makes progress.
#[test]
fn catching_up_in_parts_is_the_same_as_at_once() {
    lives(LIVES, |u| {
        let mut world = World::arbitrary(u)?;
        let (mut once, mut in_parts) = (world.throttle(), world.throttle());
        while !u.is_empty() {
            let (now, command) = world.next(u)?;
            let reached = once.catch_up(now, u32::MAX);
            let end = Time::from_nanos(u64::MAX - 1);
            assert!(reached >= now.min(end), "an unlimited budget leaves no backlog");
            let mut events_in_parts = Vec::new();
            let mut rounds = 0;
            while in_parts
                .catch_up_with(now, u.int_in_range(0..=3)?, |event| events_in_parts.push(event))
                < reached
            {
                in_parts.validate();
                rounds += 1;
                assert!(
                    rounds < 1_000,
                    "a handful of peers is processed in a bounded number of rounds"
                );
            }
            let events = drain(&mut once);
            assert_eq!(events, events_in_parts, "{command:?} at {now:?}");
            world.observe_events(&events);
            let replies = [&mut once, &mut in_parts].map(|one| one.apply(now, command.clone()));
            assert_eq!(replies[0], replies[1], "{command:?} at {now:?}");
            let events = drain(&mut once);
            assert_eq!(events, drain(&mut in_parts), "{command:?} at {now:?}");
            world.observe(&command, &replies[0], &events);
            let seen = [&once, &in_parts].map(|one| Snapshot::of(one, world.semaphores()));
            assert_eq!(seen[0], seen[1], "{command:?} at {now:?}");
        }
        Ok(())
    });
}

/// S8. This holds during a backlog too.
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

/// The peer whose lease the answer confirms as renewed, with its length.
fn renewal(step: &Step) -> Option<(PeerId, Duration)> {
    match (&step.command, &step.reply) {
        (
            &Command::Heartbeat { peer, expires_in }
            | &Command::NewPeer { peer, attributes: NewPeer { expires_in, .. } },
            Ok(_),
        ) => Some((peer, expires_in)),
        (Command::Restore(restoration), Ok(_)) => Some((restoration.peer, restoration.expires_in)),
        (_, Err(Error::StaleRequest { .. } | Error::UnknownPeer | Error::UnknownSemaphore)) => None,
        // Even if the lock is refused.
        (&Command::Acquire { peer, request }, _) => {
            request.expires_in.map(|expires_in| (peer, expires_in))
        }
        _ => None,
    }
}

/// An instant at or before `now`; often one at which something happens.
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
            world.observe(&command, &reply, &drain(&mut throttle));
        }
        let mut rounds = 0;
        while expire_next(&mut throttle) {
            rounds += 1;
            assert!(
                rounds < 1_000,
                "a handful of peers is processed in a bounded number of rounds"
            );
        }
        // The remaining peers have open requests, or leases that never end.
        let seen = Snapshot::of(&throttle, world.semaphores());
        assert!(seen.peers.iter().all(|peer| peer.time_left == peer.expires_in), "{seen:?}");
        assert_all_is_free_without(seen, &mut throttle, world.semaphores());
        Ok(())
    });
}

/// Advances time to what is due next. Returns whether anything was.
fn expire_next(throttle: &mut Throttle) -> bool {
    let Some(due) = throttle.poll_timeout() else {
        return false;
    };
    let happened = throttle.expire(due);
    let later = throttle.poll_timeout().is_none_or(|next| next > due);
    assert!(happened || later, "no progress at {due:?}");
    true
}

/// After the last peer is removed, nothing is held or pending.
fn assert_all_is_free_without(last: Snapshot, throttle: &mut Throttle, semaphores: &[SemaphoreId]) {
    for peer in last.peers {
        // Removing an earlier peer may have granted this one its lock, and ended its lease.
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

/// S10, also for a semaphore that replaces a removed one.
#[test]
fn tokens_of_a_semaphore_only_grow_and_stay_with_their_lock() {
    lives(LIVES, |u| {
        let mut ledger = Ledger::default();
        live(u, |_, step| {
            ledger.apply(step, |grant| {
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

/// S12. The exception: a lease stays renewed even if the request that renewed it is refused.
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
                expected.renew(peer, lease.min(Duration::from_nanos(u64::MAX)));
            }
            let renewal = |event: &&Event| matches!(event, Event::LeaseChanged { .. });
            let renewals = step.events.iter().filter(renewal).count();
            let lengths = expected.peers.iter().zip(&step.before.peers);
            let changed = lengths.filter(|(after, before)| after.expires_in != before.expires_in);
            assert_eq!(renewals, changed.count(), "{:?}", step.command);
            assert_eq!(step.events.len(), renewals, "{:?}", step.command);
            assert_eq!(step.after, expected, "{:?}", step.command);
            throttle.validate();
        })
    });
}

/// S14. The order of hash maps is not observable.
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
            world.observe(&command, &reply, &events);
            assert_eq!(one.poll_timeout(), other.poll_timeout(), "{command:?}");
            assert!(one.peers(None).eq(other.peers(None)), "{command:?}");
            let seen = Snapshot::of(&one, world.semaphores());
            assert_eq!(seen, Snapshot::of(&other, world.semaphores()), "{command:?}");
        }
        Ok(())
    });
}

/// Events are complete: a consumer of the events alone knows all holders and the order of every queue.
#[test]
fn the_events_suffice_to_know_all_holders_and_queues() {
    lives(LIVES, |u| {
        let mut ledger = Ledger::default();
        live(u, |_, step| {
            ledger.apply(step, |_| {});
            ledger.assert_agrees_with(&step.after);
        })
    });
}

const LIVES: u64 = 200;

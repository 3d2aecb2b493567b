//! How things look from outside: the runtime's views as types of [`throttle_wire`].

use std::time::Duration;

use throttle_runtime::Labels;
use throttle_wire::{HeldLock, Holder, PeerStatus, PendingLock, SemaphoreStatus, Waiter};

/// A peer without its locks, those that it holds, and the one that it waits for.
pub(crate) fn peer(
    peer: throttle_runtime::PeerStatus,
) -> (PeerStatus, Vec<throttle_runtime::HeldLock>, Option<PendingLock>) {
    let pending = peer.pending.map(|lock| PendingLock {
        semaphore: (*lock.semaphore).to_owned(),
        count: lock.count.get(),
        waiting_for: readable(lock.waiting_for),
        waiting_for_seconds: readable(lock.waiting_for).into(),
        parked: lock.parked,
        place: lock.place.map(|place| place as u64),
    });
    let without_locks = PeerStatus {
        id: peer.id.get(),
        expires_in: peer.expires_in,
        expires_in_seconds: peer.expires_in.into(),
        time_left: readable(peer.time_left),
        time_left_seconds: readable(peer.time_left).into(),
        labels: labels(&peer.labels),
        held: Vec::new(),
        pending: None,
    };
    (without_locks, peer.held, pending)
}

pub(crate) fn held(lock: throttle_runtime::HeldLock) -> HeldLock {
    HeldLock {
        semaphore: (*lock.semaphore).to_owned(),
        count: lock.count.get(),
        fencing_token: lock.token.get(),
        held_for: readable(lock.held_for),
        held_for_seconds: readable(lock.held_for).into(),
    }
}

pub(crate) fn semaphore(semaphore: throttle_runtime::SemaphoreStatus) -> SemaphoreStatus {
    SemaphoreStatus {
        name: (*semaphore.name).to_owned(),
        max: semaphore.max.get(),
        level: semaphore.level.0,
        held: semaphore.held,
        pending: semaphore.pending,
        remainder: semaphore.remainder,
        holders: semaphore.holders as u64,
        waiters: semaphore.waiters as u64,
        longest_pending: readable(semaphore.longest_pending),
        longest_pending_seconds: readable(semaphore.longest_pending).into(),
    }
}

pub(crate) fn holder(holder: throttle_runtime::Holder) -> Holder {
    Holder {
        peer_id: holder.peer.get(),
        count: holder.count.get(),
        fencing_token: holder.token.get(),
        held_for: readable(holder.held_for),
        held_for_seconds: readable(holder.held_for).into(),
        time_left: readable(holder.time_left),
        time_left_seconds: readable(holder.time_left).into(),
        labels: labels(&holder.labels),
    }
}

pub(crate) fn waiter(waiter: throttle_runtime::Waiter) -> Waiter {
    Waiter {
        peer_id: waiter.peer.get(),
        count: waiter.count.get(),
        waiting_for: readable(waiter.waiting_for),
        waiting_for_seconds: readable(waiter.waiting_for).into(),
        parked: waiter.parked,
        time_left: readable(waiter.time_left),
        time_left_seconds: readable(waiter.time_left).into(),
        labels: labels(&waiter.labels),
    }
}

fn labels(labels: &Labels) -> throttle_wire::Labels {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Rounded to milliseconds: what a clock measured has nine digits that nobody reads.
fn readable(measured: Duration) -> Duration {
    const HALF: Duration = Duration::from_micros(500);
    let rounded = measured.saturating_add(HALF);
    rounded - Duration::from_nanos(u64::from(rounded.subsec_nanos() % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_durations_are_rounded_to_the_nearest_millisecond() {
        let readable = |nanos| readable(Duration::from_nanos(nanos)).as_nanos();
        assert_eq!(readable(299_999_999_999), 300_000_000_000);
        assert_eq!(readable(1_499_999), 1_000_000);
        assert_eq!(readable(1_500_000), 2_000_000);
        assert_eq!(super::readable(Duration::MAX).as_secs(), u64::MAX);
    }
}

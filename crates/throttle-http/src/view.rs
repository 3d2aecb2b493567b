//! The status of peers and semaphores as JSON: from the types of the core to those of
//! [`throttle_wire`].

use std::time::Duration;

use throttle_runtime::{
    Handle, HeldLock, Holder, Labels, PeerStatus, PendingLock, SemaphoreStatus, Waiter,
};
use throttle_wire as wire;

/// A peer without its locks, and beside it the locks that it holds and the one that it waits for.
pub(crate) fn peer(
    peer: PeerStatus,
) -> (wire::PeerStatus, Vec<HeldLock>, Option<wire::PendingLock>) {
    let time_left = readable(peer.time_left);
    let without_locks = wire::PeerStatus {
        id: peer.id.get(),
        expires_in: peer.expires_in,
        expires_in_seconds: peer.expires_in.into(),
        time_left,
        time_left_seconds: time_left.into(),
        labels: labels(&peer.labels),
        held: Vec::new(),
        pending: None,
    };
    (without_locks, peer.held, peer.pending.map(pending_lock))
}

pub(crate) fn held_lock(lock: HeldLock) -> wire::HeldLock {
    let held_for = readable(lock.held_for);
    wire::HeldLock {
        semaphore: (*lock.semaphore).to_owned(),
        count: lock.count.get(),
        fencing_token: lock.token.get(),
        held_for,
        held_for_seconds: held_for.into(),
    }
}

fn pending_lock(lock: PendingLock) -> wire::PendingLock {
    let waiting_for = readable(lock.waiting_for);
    wire::PendingLock {
        semaphore: (*lock.semaphore).to_owned(),
        count: lock.count.get(),
        waiting_for,
        waiting_for_seconds: waiting_for.into(),
        parked: lock.parked,
        place: lock.place.map(|place| place as u64),
    }
}

pub(crate) fn semaphore(semaphore: SemaphoreStatus) -> wire::SemaphoreStatus {
    let longest_pending = readable(semaphore.longest_pending);
    wire::SemaphoreStatus {
        name: (*semaphore.name).to_owned(),
        max: semaphore.max.get(),
        level: semaphore.level.0,
        held: semaphore.held,
        pending: semaphore.pending,
        remainder: semaphore.remainder(),
        holders: semaphore.holders as u64,
        waiters: semaphore.waiters as u64,
        longest_pending,
        longest_pending_seconds: longest_pending.into(),
        retired: semaphore.retired,
        next_level: semaphore.next_level.map(|level| level.0),
    }
}

pub(crate) fn holder(holder: Holder) -> wire::Holder {
    let (held_for, time_left) = (readable(holder.held_for), readable(holder.time_left));
    wire::Holder {
        peer_id: holder.peer.get(),
        count: holder.count.get(),
        fencing_token: holder.token.get(),
        held_for,
        held_for_seconds: held_for.into(),
        time_left,
        time_left_seconds: time_left.into(),
        labels: labels(&holder.labels),
    }
}

pub(crate) fn waiter(waiter: Waiter) -> wire::Waiter {
    let (waiting_for, time_left) = (readable(waiter.waiting_for), readable(waiter.time_left));
    wire::Waiter {
        peer_id: waiter.peer.get(),
        count: waiter.count.get(),
        waiting_for,
        waiting_for_seconds: waiting_for.into(),
        parked: waiter.parked,
        time_left,
        time_left_seconds: time_left.into(),
        labels: labels(&waiter.labels),
    }
}

fn labels(labels: &Labels) -> wire::Labels {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What is left of the grace period, unless it ends at this moment.
pub(crate) fn grace_left(handle: &Handle) -> Option<Duration> {
    handle.grace_left().filter(|left| !left.is_zero())
}

/// Tells people that a grace period is running, of which `left` is left.
pub(crate) fn grace_period(left: Duration) -> String {
    let left = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
    format!("Nothing new is granted for another {}.", humantime::format_duration(left))
}

/// Rounds a measured duration to milliseconds, because nobody reads nine digits.
pub(crate) fn readable(measured: Duration) -> Duration {
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

    #[test]
    fn the_rest_of_a_grace_period_is_rounded_up_to_seconds() {
        let text = |millis| grace_period(Duration::from_millis(millis));
        assert_eq!(text(1), "Nothing new is granted for another 1s.");
        assert_eq!(text(90_000), "Nothing new is granted for another 1m 30s.");
        assert_eq!(text(90_001), "Nothing new is granted for another 1m 31s.");
    }
}

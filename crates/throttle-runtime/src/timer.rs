//! The timer task. It ends leases at their deadlines when no operation does, removes a backlog of expired
//! peers in steps, and runs often enough that an idle service does not look stalled.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use throttle_core::Time;
use tokio::{sync::Notify, task, time};

use crate::{
    failure::Failure,
    peer_log::ExpiryTally,
    service::{Service, TIMER_BUDGET},
    stalls::{Stalls, TICK},
    state::Phase,
};

/// What is to be logged now. Each part is limited in how often it is logged, and sums up what came before.
struct Report {
    stalls: Option<Stalls>,
    /// Requests beyond the limit of open waits.
    cut_short: Option<u64>,
    expired: Option<ExpiryTally>,
    /// For how long the store has been writing a batch, if that is too long.
    slow_batch: Option<Duration>,
}

impl Report {
    fn log(&self) {
        if let Some(stalls) = self.stalls {
            tracing::warn!(
                stalls = stalls.count,
                seconds = stalls.total.as_secs_f64(),
                "the server stood still; leases are not charged with that time"
            );
        }
        if let Some(expired) = self.expired {
            expired.log();
        }
        if let Some(lasts) = self.slow_batch {
            tracing::warn!(
                seconds = lasts.as_secs_f64(),
                "the store is still writing; requests that depend on it are not answered meanwhile"
            );
        }
        if let Some(requests) = self.cut_short {
            tracing::warn!(
                requests,
                "more requests wait for locks than the limit of open waits; \
                those beyond it are answered within a second and have to ask again"
            );
        }
    }
}

/// Runs until the last handle is dropped, or the service has failed. `rearm` wakes it early.
///
/// It is a task rather than a thread, because a thread would tick on while the runtime is blocked and no
/// heartbeat can be read.
pub(crate) fn run(service: Weak<Service>, rearm: Arc<Notify>) -> impl Future<Output = ()> + Send {
    // Made outside of the async block, because a task can be dropped before its first poll.
    let ended = TimerEnded(Weak::clone(&service));
    async move {
        let _ended = ended;
        while let Some((sleep, report)) = service.upgrade().and_then(|service| tick(&service)) {
            report.log();
            if sleep.is_zero() {
                yield_to_others(&service).await;
                continue;
            }
            tokio::select! {
                () = time::sleep(sleep) => {}
                () = rearm.notified() => {}
            }
        }
    }
}

/// Removes due peers and ends the grace period, as far as the budget allows. Returns how long the timer may sleep,
/// which is zero if there is a backlog, and what to log; `None` if the service has failed or ended.
fn tick(service: &Service) -> Option<(Duration, Report)> {
    let ticked = service.try_with_budget(TIMER_BUDGET, |state, now, _| {
        let (present, observed) = (state.lease_clock.present(), state.lease_clock.observed());
        state.end_grace_period(now, TIMER_BUDGET);
        let next_tick = present + TICK;
        let due = [state.throttle.poll_timeout(), state.grace_until];
        // While the store hangs, no instant comes closer.
        let due = due.into_iter().flatten().filter(|_| !state.store_hangs());
        let timer_due = due.fold(next_tick, Time::min);
        state.timer_due = Some(timer_due);
        let report = Report {
            stalls: state.lease_clock.report(),
            cut_short: state.waits.report(present),
            expired: state.expiry_log.report(present),
            slow_batch: state.journal.as_mut().and_then(|it| it.report_slow_batch(observed)),
        };
        (timer_due - present, report)
    });
    ticked.ok()
}

/// Yields between two steps of a backlog: to other tasks, and to threads that wait for the mutex.
async fn yield_to_others(service: &Weak<Service>) {
    for _ in 0..MAX_YIELDS {
        task::yield_now().await;
        if !service.upgrade().is_some_and(|service| service.is_contended()) {
            break;
        }
    }
}

/// Marks the service as failed if the timer ends before it: the timer panicked, or its runtime has ended.
struct TimerEnded(Weak<Service>);

impl Drop for TimerEnded {
    fn drop(&mut self) {
        if let Some(service) = self.0.upgrade()
            && !service.lock().is_some_and(|state| state.phase == Phase::Ended)
        {
            service.failure.add(Failure::Timer);
        }
    }
}

/// How often the timer yields between two steps while the mutex is contended: for about a millisecond if
/// no task has anything to do.
const MAX_YIELDS: usize = 1_000;

//! The task that lets leases end punctually when nobody asks for anything, that works off a backlog
//! when very many of them end together, and that keeps the service attentive.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::Notify, task, time};

use crate::{
    failure::Failure,
    peer_log::ExpiryTally,
    service::{Service, TIMER_BUDGET},
    stalls::{Stalls, TICK},
};

/// What has happened since the log was told the last time, as far as it is time to do so.
struct Report {
    stalls: Option<Stalls>,
    /// Requests beyond the limit of those that wait.
    cut_short: Option<u64>,
    expired: Option<ExpiryTally>,
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
        if let Some(requests) = self.cut_short {
            tracing::warn!(
                requests,
                "more requests wait for locks than the limit of open waits; \
                those beyond it are answered within a second and have to ask again"
            );
        }
    }
}

/// Runs until the last handle is gone, or the service has failed.
///
/// It is a task and no thread of its own, for a thread would tick on while the runtime is starved and
/// reads no heartbeats. `rearm` says that something is due earlier than it was when the task fell
/// asleep, or that it is time to look whether anybody still needs it.
pub(crate) fn run(service: Weak<Service>, rearm: Arc<Notify>) -> impl Future<Output = ()> + Send {
    // A task can be dropped before its first turn.
    let ended = TimerEnded(Weak::clone(&service));
    async move {
        let _ended = ended;
        while let Some((sleep, report)) = service.upgrade().and_then(|service| tick(&service)) {
            report.log();
            if sleep.is_zero() {
                let_others_in(&service).await;
                continue;
            }
            tokio::select! {
                () = time::sleep(sleep) => {}
                () = rearm.notified() => {}
            }
        }
    }
}

/// Does a part of what is due. Returns for how long the timer may sleep, which is no time at all if
/// there is a backlog, and what to tell the log; nothing if the service has failed.
fn tick(service: &Service) -> Option<(Duration, Report)> {
    service.try_with_budget(TIMER_BUDGET, |state, _, _| {
        let present = state.lease_clock.present();
        let next_tick = present + TICK;
        let timer_due = state.throttle.poll_timeout().map_or(next_tick, |due| due.min(next_tick));
        state.timer_due = Some(timer_due);
        let report = Report {
            stalls: state.lease_clock.report(),
            cut_short: state.waits.report(present),
            expired: state.expiry_log.report(present),
        };
        (timer_due - present, report)
    })
}

/// Gives way to other tasks, and to those who wait for the mutex, between two parts of a backlog.
async fn let_others_in(service: &Weak<Service>) {
    for _ in 0..TURNS_OF_OTHERS {
        task::yield_now().await;
        if !service.upgrade().is_some_and(|service| service.is_contended()) {
            break;
        }
    }
}

/// Lives in the timer. If that ends while somebody still needs it, its runtime is gone or it panicked.
struct TimerEnded(Weak<Service>);

impl Drop for TimerEnded {
    fn drop(&mut self) {
        if let Some(service) = self.0.upgrade() {
            service.failure.add(Failure::Timer);
        }
    }
}

/// How often a backlog gives way before it goes on all the same: about a millisecond if nobody else
/// has anything to do.
const TURNS_OF_OTHERS: usize = 1_000;

//! What happens when a lock is lost, or soon will be: the command gets TERM, and KILL after the grace.

use std::{io, time::Duration};

use tokio::time::sleep;

use super::{
    child::{Child, Event},
    forwarded_signals::{Signals, is_ending},
    held_locks::{HeldLocks, LostLock},
};
use crate::output;

/// Resolves with the loss when a lock is lost, or with `None` when only the grace is left before it will be.
pub(super) async fn until_endangered(held: &HeldLocks, grace: Duration) -> Option<LostLock> {
    loop {
        let left = held.time_left().saturating_sub(grace);
        if left.is_zero() {
            return held.check().err();
        }
        tokio::select! {
            biased;
            loss = held.until_lost() => return Some(loss),
            // In short sleeps: timers stand still while the machine sleeps, but leases do not.
            () = sleep(left.min(LONGEST_SLEEP)) => {}
        }
    }
}

/// Ends the command: TERM first, KILL when its time is over. Returns the loss to report.
///
/// The command has the whole grace if the lock is lost already, because others may hold it anyway. Otherwise
/// its time also ends when the lock may be lost.
pub(super) async fn end_command(
    child: &mut Child,
    held: &HeldLocks,
    known_loss: Option<LostLock>,
    grace: Duration,
    signals: &mut Signals,
) -> io::Result<LostLock> {
    child.terminate();
    match &known_loss {
        Some(loss) => output::print_message(format_args!("{loss}; the command gets TERM")),
        None => output::print_message(
            "the server does not answer; the command gets TERM before the lock is lost",
        ),
    }
    let time = if known_loss.is_some() { grace } else { grace.min(held.time_left()) };
    let time_over = sleep(time);
    tokio::pin!(time_over);
    let mut was_signaled = false;
    loop {
        tokio::select! {
            biased;
            event = child.next_event(), if !child.has_ended() => {
                // A stopped command has to continue before it can end.
                if event? == Event::Continued {
                    child.resume();
                }
            }
            // The command has ended, but the processes that it started have the rest of the time.
            () = sleep(POLL_INTERVAL), if child.has_ended() => if !child.has_survivors() { break },
            signal = signals.next() => {
                // A second signal to end cuts the grace short.
                if was_signaled && is_ending(signal) {
                    break;
                }
                was_signaled |= is_ending(signal);
                child.forward(signal);
            }
            () = &mut time_over => break,
        }
    }
    kill_command(child).await?;
    Ok(held.check().err().or(known_loss).unwrap_or_else(|| held.unreachable_loss()))
}

/// Kills the command and all processes that it has started.
pub(super) async fn kill_command(child: &mut Child) -> io::Result<()> {
    child.kill();
    child.wait().await?;
    // A process may have started another one just before it was killed.
    for _ in 0..MAX_POLLS {
        if !child.has_survivors() {
            break;
        }
        child.kill();
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Returns when the locks are certain to be held for longer than the grace.
///
/// While this program was stopped it sent no heartbeats, so the lease may be nearly over. The next heartbeat
/// decides.
pub(super) async fn until_confirmed(held: &HeldLocks, grace: Duration) -> Result<(), LostLock> {
    while held.time_left() <= grace {
        held.check()?;
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// The pause between two checks of a state that sends no event.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often to look for processes left after KILL. The system ends the rest of them as soon as it can.
const MAX_POLLS: u32 = 100;

/// The longest sleep at a time, because the machine may be suspended meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

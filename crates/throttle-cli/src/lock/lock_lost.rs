//! What happens when the lock is lost, or soon will be.

use std::{io, time::Duration};

use tokio::time::sleep;

use super::{
    child::{Child, Event},
    forwarded_signals::{Signals, is_ending},
    held_locks::{HeldLocks, LostLock},
};
use crate::output;

/// Returns when the lock is lost, with the reason, or when it will be after the grace.
pub(super) async fn until_endangered(held: &HeldLocks, grace: Duration) -> Option<LostLock> {
    loop {
        let left = held.time_left().saturating_sub(grace);
        if left.is_zero() {
            return held.check().err();
        }
        tokio::select! {
            biased;
            loss = held.until_lost() => return Some(loss),
            // In pieces, for a machine that slept has less time than its timers think.
            () = sleep(left.min(LONGEST_SLEEP)) => {}
        }
    }
}

/// Ends the command: gently, and when its time is over certainly.
///
/// Its time is the grace, but no longer than it is certain that nobody else has the lock. Once that is
/// uncertain, waiting makes it neither better nor much worse, so the command has all of its grace.
pub(super) async fn end_command(
    child: &mut Child,
    held: &HeldLocks,
    known: Option<LostLock>,
    grace: Duration,
    signals: &mut Signals,
) -> io::Result<LostLock> {
    child.terminate();
    match &known {
        Some(loss) => output::message(format_args!("{loss}; the command is told to end")),
        None => output::message(
            "the server does not answer; the command is told to end before the lock is lost",
        ),
    }
    let time = if known.is_some() { grace } else { grace.min(held.time_left()) };
    let is_over = sleep(time);
    tokio::pin!(is_over);
    let mut is_second_signal = false;
    loop {
        tokio::select! {
            biased;
            event = child.next_event(), if !child.has_ended() => {
                // One that is stopped continues, in order to end.
                if event? == Event::Continued {
                    child.resume();
                }
            }
            // What the command has started may need its time as well.
            () = sleep(POLL_INTERVAL), if child.has_ended() => if !child.has_survivors() { break },
            signal = signals.next() => {
                // Who says so twice does not want to wait.
                if is_second_signal && is_ending(signal) {
                    break;
                }
                is_second_signal |= is_ending(signal);
                child.forward(signal);
            }
            () = &mut is_over => break,
        }
    }
    kill_command(child).await?;
    Ok(held.check().err().or(known).unwrap_or_else(|| held.unreachable_loss()))
}

/// Ends the command with all that it started and left behind.
pub(super) async fn kill_command(child: &mut Child) -> io::Result<()> {
    child.kill();
    child.wait().await?;
    // Whoever was just starting something else may have got it started.
    for _ in 0..MAX_POLLS {
        if !child.has_survivors() {
            break;
        }
        child.kill();
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Returns when it is certain that the lock stays for longer than the grace.
///
/// After a stop the lease may be nearly over, although the server is there; the next heartbeat tells.
pub(super) async fn until_confirmed(held: &HeldLocks, grace: Duration) -> Result<(), LostLock> {
    while held.time_left() <= grace {
        held.check()?;
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// How long to wait before looking again at what tells nothing by itself.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often to look for what is left of a command that was killed. What the system cannot end at once, it
/// ends when it can.
const MAX_POLLS: u32 = 100;

/// How long a timer may be trusted by a machine that may sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

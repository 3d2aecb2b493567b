//! Runs the command as long as there is a lock, and sees to it that it ends in time.
//!
//! The order of ends is what matters. The lease of the peer ends at the server at some instant; before
//! it, at the local deadline, the client says that the lock is lost; before that, by the grace, the
//! command is told to end if no heartbeat gets through. So it has the grace to end in good order, and
//! is dead when somebody else can be granted the lock.

use std::{io, time::Duration};

use tokio::time::sleep;

use super::{
    child::{Child, Event, Manner},
    forwarded_signals::{Signals, is_ending},
    held_locks::{HeldLocks, LostLock},
};
use crate::{
    exit_status::{ExitStatus, Failure},
    output,
};

/// How the work came to its end.
pub(super) enum Outcome {
    /// The command ended by itself, under the lock.
    Finished(ExitStatus),
    /// The lock was lost first, and nothing of the command is left.
    LockLost(LostLock),
}

/// Lets the command run, with all signals, as long as there is a lock.
pub(super) async fn run(
    child: &mut Child,
    held: &HeldLocks,
    grace: Duration,
    signals: &mut Signals,
) -> Result<Outcome, Failure> {
    loop {
        tokio::select! {
            biased;
            known = endangered(held, grace) => {
                return Ok(Outcome::LockLost(end(child, held, known, grace, signals).await?));
            }
            event = child.event() => match event? {
                Event::Ended(code) => return Ok(Outcome::Finished(code)),
                Event::Continued => match confirmed(held, grace).await {
                    Ok(()) => child.resume(),
                    Err(loss) => {
                        // It would go on without the lock.
                        kill(child).await?;
                        return Ok(Outcome::LockLost(loss));
                    }
                },
            },
            signal = signals.next() => child.forward(signal),
        }
    }
}

/// Returns when the lock is lost, with the reason, or when it will be after the grace.
pub(super) async fn endangered(held: &HeldLocks, grace: Duration) -> Option<LostLock> {
    loop {
        let left = held.time_left().saturating_sub(grace);
        if left.is_zero() {
            return held.check().err();
        }
        tokio::select! {
            biased;
            loss = held.lost() => return Some(loss),
            // In pieces, for a machine that slept has less time than its timers think.
            () = sleep(left.min(LONGEST_SLEEP)) => {}
        }
    }
}

/// Ends the command: gently, and when its time is over certainly.
///
/// Its time is the grace, but no longer than it is certain that nobody else has the lock. Once that is
/// uncertain, waiting makes it neither better nor much worse, so the command has all of its grace.
async fn end(
    child: &mut Child,
    held: &HeldLocks,
    known: Option<LostLock>,
    grace: Duration,
    signals: &mut Signals,
) -> io::Result<LostLock> {
    child.end(Manner::Gently);
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
            event = child.event(), if !child.is_ended() => {
                // One that is stopped continues, in order to end.
                if event? == Event::Continued {
                    child.resume();
                }
            }
            // What the command has started may need its time as well.
            () = sleep(POLL_INTERVAL), if child.is_ended() => if !child.is_left() { break },
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
    kill(child).await?;
    Ok(held.check().err().or(known).unwrap_or_else(|| held.out_of_reach()))
}

/// Ends the command with all that it started and left behind.
async fn kill(child: &mut Child) -> io::Result<()> {
    child.end(Manner::Certainly);
    child.ended().await?;
    // Whoever was just starting something else may have got it started.
    for _ in 0..MAX_POLLS {
        if !child.is_left() {
            break;
        }
        child.end(Manner::Certainly);
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Returns when it is certain that the lock stays for longer than the grace.
///
/// After a stop the lease may be nearly over, although the server is there; the next heartbeat tells.
async fn confirmed(held: &HeldLocks, grace: Duration) -> Result<(), LostLock> {
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

//! Runs the command as long as there is a lock, and sees to it that it ends in time.
//!
//! The order of ends is what matters. The lease of the peer ends at the server at some instant; before
//! it, at the local deadline, the client says that the lock is lost; before that, by the grace, the
//! command is told to end if no heartbeat gets through. So it has the grace to end in good order, and
//! is dead when somebody else can be granted the lock.

use std::time::Duration;

use super::{
    child::{Child, Event},
    forwarded_signals::Signals,
    held_locks::{HeldLocks, LostLock},
    lock_lost::{end_command, kill_command, until_confirmed, until_endangered},
};
use crate::exit_status::{ExitStatus, Failure};

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
            known = until_endangered(held, grace) => {
                return Ok(Outcome::LockLost(end_command(child, held, known, grace, signals).await?));
            }
            event = child.next_event() => match event? {
                Event::Ended(status) => return Ok(Outcome::Finished(status)),
                Event::Continued => match until_confirmed(held, grace).await {
                    Ok(()) => child.resume(),
                    Err(loss) => {
                        // It would go on without the lock.
                        kill_command(child).await?;
                        return Ok(Outcome::LockLost(loss));
                    }
                },
            },
            signal = signals.next() => child.forward(signal),
        }
    }
}

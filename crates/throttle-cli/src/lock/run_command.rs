//! Runs the command while the locks are held: forwards signals to it, and ends it in time if a lock is lost.
//!
//! If no heartbeat gets through, three instants follow each other. A grace before the local deadline, the
//! command gets TERM. At the local deadline, the client reports the lock as lost, and the command gets KILL.
//! After that, the lease ends at the server, which can then grant the lock to others.

use std::time::Duration;

use super::{
    child::{Child, Event},
    forwarded_signals::Signals,
    held_locks::{HeldLocks, LostLock},
    lock_lost::{end_command, kill_command, until_confirmed, until_endangered},
};
use crate::exit_status::{ExitStatus, Failure};

/// How the work under the locks ended.
pub(super) enum Outcome {
    /// The command ended while the locks were held.
    Finished(ExitStatus),
    /// A lock was lost first, and the command with all its processes was ended.
    LockLost(LostLock),
}

/// Runs the command until it ends or a lock is lost.
pub(super) async fn run(
    child: &mut Child,
    held: &HeldLocks,
    grace: Duration,
    signals: &mut Signals,
) -> Result<Outcome, Failure> {
    loop {
        tokio::select! {
            biased;
            known_loss = until_endangered(held, grace) => {
                return Ok(Outcome::LockLost(end_command(child, held, known_loss, grace, signals).await?));
            }
            event = child.next_event() => match event? {
                Event::Ended(status) => return Ok(Outcome::Finished(status)),
                Event::Continued => match until_confirmed(held, grace).await {
                    Ok(()) => child.resume(),
                    Err(loss) => {
                        // The command is stopped. Continued, it would run without the lock.
                        kill_command(child).await?;
                        return Ok(Outcome::LockLost(loss));
                    }
                },
            },
            signal = signals.next() => child.forward(signal),
        }
    }
}

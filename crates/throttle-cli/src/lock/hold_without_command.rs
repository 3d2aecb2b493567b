//! Holds a lock without a command, for whoever is at the other end of standard input.

use std::{
    io::{self, Read as _},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    forwarded_signals::Signals, held_locks::HeldLocks, lock_lost::until_endangered,
    run_command::Outcome,
};
use crate::{
    exit_status::{ExitStatus, Failure},
    output,
};

/// Tells what is held, and returns when standard input ends, when a signal says so, or a grace before the
/// lock is lost.
///
/// # Errors
///
/// [`ExitStatus::OUTPUT`]: who cannot read it does not know that it holds anything.
pub(super) async fn run(
    held: &HeldLocks,
    listing: String,
    grace: Duration,
    signals: &mut Signals,
) -> Result<Outcome, Failure> {
    let write_then_read_to_end = write_then_read_to_end(listing)?;
    Ok(tokio::select! {
        biased;
        known = until_endangered(held, grace) => {
            Outcome::LockLost(known.unwrap_or_else(|| held.unreachable_loss()))
        }
        signal = signals.next_ending() => Outcome::Finished(ExitStatus::signal(signal)),
        ended = write_then_read_to_end => {
            ended.unwrap_or(Ok(())).map_err(output::stdout_failure)?;
            Outcome::Finished(ExitStatus::SUCCESS)
        }
    })
}

/// Writes the listing, then becomes ready when standard input ends. What comes before is not looked at.
///
/// Both may take as long as whoever is at the other end likes.
fn write_then_read_to_end(listing: String) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (end, ended) = oneshot::channel();
    let talk = move || {
        if let Err(error) = output::to_stdout(&listing) {
            let _ = end.send(Err(error));
            return;
        }
        let mut buffer = [0; 4096];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What cannot be read has no end but this one.
                Ok(0) | Err(_) => break,
            }
        }
        // The program may be ending for another reason.
        let _ = end.send(Ok(()));
    };
    thread::Builder::new().name("conversation".to_owned()).spawn(talk)?;
    Ok(ended)
}

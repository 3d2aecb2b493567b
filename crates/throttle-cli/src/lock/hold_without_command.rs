//! Holds the locks without a command, until standard input ends.

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

/// Writes `listing` to standard output. Returns when standard input ends, at a signal to end, or a grace
/// before a lock is lost.
///
/// # Errors
///
/// [`ExitStatus::OUTPUT`] if the listing cannot be written: the reader then does not know that it holds the
/// locks.
pub(super) async fn run(
    held: &HeldLocks,
    listing: String,
    grace: Duration,
    signals: &mut Signals,
) -> Result<Outcome, Failure> {
    let input_ended = write_then_read_to_end(listing)?;
    Ok(tokio::select! {
        biased;
        known_loss = until_endangered(held, grace) => {
            Outcome::LockLost(known_loss.unwrap_or_else(|| held.unreachable_loss()))
        }
        signal = signals.next_ending() => Outcome::Finished(ExitStatus::of_signal(signal)),
        ended = input_ended => {
            ended.unwrap_or(Ok(())).map_err(output::stdout_failure)?;
            Outcome::Finished(ExitStatus::SUCCESS)
        }
    })
}

/// Writes the listing, then reads standard input to its end and ignores the bytes.
///
/// On a thread of its own, because both may block for ever.
fn write_then_read_to_end(listing: String) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (end, ended) = oneshot::channel();
    let write_and_read = move || {
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
                // An input that cannot be read counts as ended.
                Ok(0) | Err(_) => break,
            }
        }
        // Nobody receives this if the program ends for another reason.
        let _ = end.send(Ok(()));
    };
    thread::Builder::new().name("conversation".to_owned()).spawn(write_and_read)?;
    Ok(ended)
}

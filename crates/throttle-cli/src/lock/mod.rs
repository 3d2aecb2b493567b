//! `throttlectl lock`: waits for locks, runs a command while they are held, and ends it if one of them is lost.
//! The steps are in the modules below; their order is here, with the release and `--hold-at-least`.

mod acquire;
pub(crate) mod args;
mod child;
mod forwarded_signals;
mod held_locks;
mod hold_without_command;
mod levels;
mod lock_lost;
mod run_command;
mod wait_limit;
mod wait_progress;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use humantime::format_duration;
use tokio::time::{sleep, timeout};

use self::{
    args::LockRequest, child::Child, forwarded_signals::Signals, held_locks::HeldLocks,
    run_command::Outcome,
};
use crate::{
    exit_status::{ExitStatus, Failure},
    output,
    server_args::ServerArgs,
};

/// Replaces this process by a command that dies with its parent.
pub(crate) fn become_command(arguments: &args::DieWithParent) -> Result<ExitStatus, Failure> {
    Err(child::become_command(arguments))
}

/// Runs `throttlectl lock`.
pub(crate) async fn run(
    server: &ServerArgs,
    arguments: &args::Lock,
) -> Result<ExitStatus, Failure> {
    let (requests, grace) = (arguments.lock_requests()?, arguments.grace()?);
    let mut signals = Signals::listen()?;
    let peer = acquire::new_peer(server, arguments)?;
    let acquired = tokio::select! {
        biased;
        held = acquire::acquire_all(server, &peer, &requests, arguments) => held.map(Ok),
        signal = signals.next_ending() => Ok(Err(signal)),
    };
    let status = match acquired {
        Ok(Ok(held)) => run_under_lock(held, &requests, grace, arguments, &mut signals).await,
        Ok(Err(signal)) => Ok(ExitStatus::of_signal(signal)),
        // Report now: removing the peer from a server that does not answer takes a while.
        Err(failure) => Ok(output::print_failure(failure)),
    };
    // If this fails, the peer is gone when its lease ends.
    let _ = unless_interrupted(&mut signals, timeout(CLOSE_TIMEOUT, peer.close())).await;
    status
}

/// Runs the command, or waits for the end of standard input, and releases the locks.
async fn run_under_lock(
    held: HeldLocks,
    requests: &[LockRequest],
    grace: Duration,
    arguments: &args::Lock,
    signals: &mut Signals,
) -> Result<ExitStatus, Failure> {
    let least = arguments.hold_at_least.unwrap_or_default();
    let held_long_enough = sleep(least);
    let names = requests.iter().map(|it| &*it.semaphore);
    let outcome = if arguments.command.is_empty() {
        hold_without_command::run(&held, held.listing(names), grace, signals).await?
    } else {
        let mut child = Child::start(&arguments.command, &held.environment(names))?;
        run_command::run(&mut child, &held, grace, signals).await?
    };
    let status = match outcome {
        Outcome::Finished(status) => status,
        Outcome::LockLost(loss) => return Err(loss.into()),
    };
    if !least.is_zero() && io::stderr().is_terminal() {
        let least = format_duration(least);
        output::print_message(format_args!(
            "done; the lock is kept for {least} from when it was granted"
        ));
    }
    tokio::select! {
        biased;
        () = held_long_enough => {}
        _ = signals.next_ending() => {}
        // The command ran under the lock to its end, so its exit status counts.
        loss = held.until_lost() => {
            output::print_message(format_args!("{loss}, before its time was over but when all was done"));
            return Ok(status);
        }
    }
    match unless_interrupted(signals, held.release()).await {
        Some(released) => released?,
        None => output::print_message(
            "it was not given back: others have to wait for the end of the lease",
        ),
    }
    Ok(status)
}

/// Completes `rest`. An ending signal leaves it [`INTERRUPTED_TIMEOUT`]; then it is dropped and the result is
/// `None`.
async fn unless_interrupted<T>(signals: &mut Signals, rest: impl Future<Output = T>) -> Option<T> {
    let interrupted = async {
        signals.next_ending().await;
        // Not at once: it may be the signal that has just ended the command, sent to the whole job.
        sleep(INTERRUPTED_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        done = rest => Some(done),
        () = interrupted => None,
    }
}

/// How long the removal of the peer may take. When the program ends, the client tries for another second, so
/// both together take two seconds at most.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the program runs on after a signal to end. A server that can be reached answers within this time.
const INTERRUPTED_TIMEOUT: Duration = Duration::from_secs(1);

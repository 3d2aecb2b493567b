//! `throttlectl lock`: waits for a lock, runs a command, and sees to it that nobody works without the
//! lock.

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
    args::RequestedLock, child::Child, forwarded_signals::Signals, held_locks::HeldLocks,
    run_command::Outcome,
};
use crate::{
    exit_status::{ExitStatus, Failure},
    output,
    server_args::ServerArgs,
};

/// Becomes a command that ends with its parent.
pub(crate) fn become_command(arguments: &args::DieWithParent) -> Result<ExitStatus, Failure> {
    Err(child::become_command(arguments))
}

pub(crate) async fn run(
    server: &ServerArgs,
    arguments: &args::Lock,
) -> Result<ExitStatus, Failure> {
    let (requested, grace) = (arguments.requested_locks()?, arguments.grace()?);
    let mut signals = Signals::listen()?;
    let peer = acquire::new_peer(server, arguments)?;
    let held = tokio::select! {
        biased;
        held = acquire::acquire_all(server, &peer, &requested, arguments) => held.map(Ok),
        signal = signals.next_ending() => Ok(Err(signal)),
    };
    let status = match held {
        Ok(Ok(held)) => run_under_lock(held, &requested, grace, arguments, &mut signals).await,
        Ok(Err(signal)) => Ok(ExitStatus::signal(signal)),
        // The time is over now. To take leave of a server that does not answer may take a while.
        Err(failure) => Ok(output::failure(failure)),
    };
    // What is not told now, the end of the lease tells.
    let _ = unless_interrupted(&mut signals, timeout(CLOSE_TIMEOUT, peer.close())).await;
    status
}

/// Does what is to be done under the lock, and gives it back.
async fn run_under_lock(
    held: HeldLocks,
    requested: &[RequestedLock],
    grace: Duration,
    arguments: &args::Lock,
    signals: &mut Signals,
) -> Result<ExitStatus, Failure> {
    let least = arguments.hold_at_least.unwrap_or_default();
    let is_long_enough = sleep(least);
    let names = requested.iter().map(|it| &*it.name);
    let end = if arguments.command.is_empty() {
        hold_without_command::run(&held, held.listing(names), grace, signals).await?
    } else {
        let mut child = Child::start(&arguments.command, &held.environment(names))?;
        run_command::run(&mut child, &held, grace, signals).await?
    };
    let status = match end {
        Outcome::Finished(status) => status,
        Outcome::LockLost(loss) => return Err(loss.into()),
    };
    if !least.is_zero() && io::stderr().is_terminal() {
        let least = format_duration(least);
        output::message(format_args!(
            "done; the lock is kept for {least} from when it was granted"
        ));
    }
    tokio::select! {
        biased;
        () = is_long_enough => {}
        _ = signals.next_ending() => {}
        // The work was done under the lock, so this is no failure of the command.
        loss = held.until_lost() => {
            output::message(format_args!("{loss}, before its time was over but when all was done"));
            return Ok(status);
        }
    }
    match unless_interrupted(signals, held.release()).await {
        Some(released) => released?,
        None => {
            output::message("it was not given back: others have to wait for the end of the lease")
        }
    }
    Ok(status)
}

/// Does what is left to do. If a signal comes that means to end, it has to be done soon, or it is not: None.
async fn unless_interrupted<T>(signals: &mut Signals, rest: impl Future<Output = T>) -> Option<T> {
    let is_over = async {
        signals.next_ending().await;
        // A signal that ended the command may be about to come here as well, so that is no haste.
        sleep(INTERRUPTED_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        done = rest => Some(done),
        () = is_over => None,
    }
}

/// How long giving back may take when everything is done.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server may take to hear that nobody waits any more. The client tries for another second when
/// the program ends, so that both together are no more than two.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long somebody waits who said that it shall end, and a server that is there needs at most.
const INTERRUPTED_TIMEOUT: Duration = Duration::from_secs(1);

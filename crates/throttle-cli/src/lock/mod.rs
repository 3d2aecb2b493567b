//! `throttlectl lock`: waits for a lock, runs a command, and sees to it that nobody works without the
//! lock.

mod acquire;
pub(crate) mod args;
mod child;
mod held;
mod hold;
mod order;
mod patience;
mod progress;
mod signals;
mod work;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use humantime::format_duration;
use tokio::time::{sleep, timeout};

#[cfg(unix)]
pub(crate) use self::signals::is_ignored;
use self::{args::Wanted, child::Child, held::Held, signals::Signals, work::End};
use crate::{
    args::Server,
    exit::{Code, Failure},
    say,
};

/// Becomes a command that ends with its parent.
pub(crate) fn bond(bond: &args::Bond) -> Result<Code, Failure> {
    Err(child::bond(bond))
}

pub(crate) async fn run(server: &Server, arguments: &args::Lock) -> Result<Code, Failure> {
    let (wanted, grace) = (arguments.wanted()?, arguments.grace()?);
    let mut signals = Signals::listen()?;
    let peer = acquire::peer(server, arguments)?;
    let held = tokio::select! {
        biased;
        held = acquire::all(server, &peer, &wanted, arguments) => held.map(Ok),
        signal = signals.that_ends() => Ok(Err(signal)),
    };
    let code = match held {
        Ok(Ok(held)) => work(held, &wanted, grace, arguments, &mut signals).await,
        Ok(Err(signal)) => Ok(Code::signal(signal)),
        // The time is over now. To take leave of a server that does not answer may take a while.
        Err(failure) => Ok(failure.tell()),
    };
    // What is not told now, the end of the lease tells.
    let _ = unless_urged(&mut signals, timeout(CLOSING, peer.close())).await;
    code
}

/// Does what is to be done under the lock, and gives it back.
async fn work(
    held: Held,
    wanted: &[Wanted],
    grace: Duration,
    arguments: &args::Lock,
    signals: &mut Signals,
) -> Result<Code, Failure> {
    let least = arguments.hold_at_least.unwrap_or_default();
    let is_long_enough = sleep(least);
    let names = wanted.iter().map(|it| &*it.name);
    let end = if arguments.command.is_empty() {
        hold::run(&held, held.listing(names), grace, signals).await?
    } else {
        let mut child = Child::start(&arguments.command, &held.environment(names))?;
        work::run(&mut child, &held, grace, signals).await?
    };
    let code = match end {
        End::Done(code) => code,
        End::Lost(loss) => return Err(loss.into()),
    };
    if !least.is_zero() && io::stderr().is_terminal() {
        let least = format_duration(least);
        say::message(format_args!("done; the lock is kept for {least} from when it was granted"));
    }
    tokio::select! {
        biased;
        () = is_long_enough => {}
        _ = signals.that_ends() => {}
        // The work was done under the lock, so this is no failure of the command.
        loss = held.lost() => {
            say::message(format_args!("{loss}, before its time was over but when all was done"));
            return Ok(code);
        }
    }
    match unless_urged(signals, held.release()).await {
        Some(released) => released?,
        None => say::message("it was not given back: others have to wait for the end of the lease"),
    }
    Ok(code)
}

/// Does what is left to do. If a signal comes that means to end, it has to be done soon, or it is not: None.
async fn unless_urged<T>(signals: &mut Signals, rest: impl Future<Output = T>) -> Option<T> {
    let is_over = async {
        signals.that_ends().await;
        // A signal that ended the command may be about to come here as well, so that is no haste.
        sleep(SOON).await;
    };
    tokio::select! {
        biased;
        done = rest => Some(done),
        () = is_over => None,
    }
}

/// How long giving back may take when everything is done.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the server may take to hear that nobody waits any more. The client tries for another second when
/// the program ends, so that both together are no more than two.
const CLOSING: Duration = Duration::from_secs(1);

/// How long somebody waits who said that it shall end, and a server that is there needs at most.
const SOON: Duration = Duration::from_secs(1);

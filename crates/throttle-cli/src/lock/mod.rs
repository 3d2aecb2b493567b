//! `throttlectl lock`: waits for a lock, runs a command, and sees to it that nobody works without the
//! lock.

pub(crate) mod args;
mod child;
mod progress;
mod signals;
mod work;

use std::time::Duration;

use throttle_client::{Client, Lock, Lost, Peer};

#[cfg(unix)]
pub(crate) use self::signals::is_ignored;
use self::{child::Child, progress::Progress, signals::Signals, work::End};
use crate::{
    exit::{Code, Failure},
    say,
};

/// Becomes a command that ends with its parent.
pub(crate) fn bond(bond: &args::Bond) -> Result<Code, Failure> {
    Err(child::bond(bond))
}

pub(crate) async fn run(client: &Client, arguments: args::Lock) -> Result<Code, Failure> {
    let mut signals = Signals::listen()?;
    let mut peer = Peer::builder(client).lease(arguments.lease);
    for (name, value) in &arguments.label {
        peer = peer.label(name, value);
    }
    let peer = peer.build();
    let code = match acquire(client, &peer, &arguments, &mut signals).await {
        Ok(Outcome::Held(lock)) => work(lock, &arguments, &mut signals).await,
        Ok(Outcome::Interrupted(signal)) => Ok(Code::signal(signal)),
        Err(failure) => Err(failure.context(format!("no lock on {:?}", arguments.name))),
    };
    farewell(peer).await;
    code
}

enum Outcome {
    Held(Lock),
    /// A signal came while it waited.
    Interrupted(i32),
}

async fn acquire(
    client: &Client,
    peer: &Peer,
    arguments: &args::Lock,
    signals: &mut Signals,
) -> Result<Outcome, Failure> {
    let mut request = peer.lock(&arguments.name).count(arguments.count);
    if arguments.nonblocking {
        request = request.wait_at_most(Duration::ZERO);
    } else if let Some(patience) = arguments.wait {
        request = request.wait_at_most(patience);
    }
    let progress = Progress::new(client, &arguments.name, peer);
    tokio::select! {
        biased;
        lock = request.into_future() => Ok(Outcome::Held(lock?)),
        signal = signals.that_ends() => Ok(Outcome::Interrupted(signal)),
        never = progress.show() => match never {},
    }
}

/// Runs the command as long as there is a lock.
async fn work(lock: Lock, arguments: &args::Lock, signals: &mut Signals) -> Result<Code, Failure> {
    let environment = [
        ("THROTTLE_SEMAPHORE", lock.semaphore().to_owned()),
        ("THROTTLE_PEER", lock.peer_id().to_string()),
        (
            "THROTTLE_FENCING_TOKEN",
            lock.fencing_token().map_or_else(String::new, |it| it.to_string()),
        ),
    ];
    let mut child = Child::start(&arguments.command, &environment)?;
    match work::run(&mut child, &lock, arguments.grace(), signals).await? {
        End::Done(code) => {
            let outcome = released(lock, &arguments.name).await;
            outcome.map(|()| code).map_err(|lost| ended(&arguments.name, lost))
        }
        End::Lost(lost) => Err(ended(&arguments.name, lost)),
    }
}

/// Gives the lock back, but does not wait for long: the lease ends anyway.
async fn released(lock: Lock, name: &str) -> Result<(), Lost> {
    match tokio::time::timeout(FAREWELL, lock.release()).await {
        Ok(outcome) => outcome,
        Err(_) => {
            say::message(format_args!("{name:?} is free when its lease ends: no answer"));
            Ok(())
        }
    }
}

async fn farewell(peer: Peer) {
    // What is not told now, the end of the lease tells.
    let _ = tokio::time::timeout(FAREWELL, peer.close()).await;
}

fn ended(name: &str, lost: Lost) -> Failure {
    Failure::new(Code::LOST, anyhow::anyhow!("the lock on {name:?} is lost: {lost}"))
}

/// How long to wait for the server when everything is done.
const FAREWELL: Duration = Duration::from_secs(5);

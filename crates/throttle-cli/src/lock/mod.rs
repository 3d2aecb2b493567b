//! `throttlectl lock`: waits for a lock, runs a command, and sees to it that nobody works without the
//! lock.
//!
//! The order of ends is what matters. The lease of the peer ends at the server at some instant; before
//! it, at the local deadline, the client says that the lock is lost; before that, by the grace, the
//! command is told to end if no sign of life gets through. So it has the grace to end in good order, and
//! is dead when somebody else can be granted the lock.

pub(crate) mod args;
mod child;
mod progress;
mod signals;

use std::time::Duration;

use throttle_client::{Client, Lock, Lost, Peer};

use self::{
    child::{Child, Manner},
    progress::Progress,
    signals::Signals,
};
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
    let grace = arguments.grace();
    let endangered = tokio::select! {
        biased;
        status = attended(&mut child, signals) => {
            let code = status?;
            return match released(lock, &arguments.name).await {
                Ok(()) => Ok(code),
                Err(lost) => Err(ended(&arguments.name, lost)),
            };
        }
        endangered = danger(&lock, grace) => endangered,
    };
    child.end(Manner::Gently);
    say::message(format_args!("the lock on {:?} is in danger, the command ends", arguments.name));
    let lost = tokio::select! {
        biased;
        _ = child.wait() => endangered.unwrap_or(Lost::Unreachable),
        lost = too_late(&lock, endangered, grace) => lost,
    };
    // Also what the command has started and left behind.
    child.end(Manner::Certainly);
    child.wait().await?;
    Err(ended(&arguments.name, lost))
}

/// Waits for the command to end, and passes signals on to it meanwhile.
async fn attended(child: &mut Child, signals: &mut Signals) -> Result<Code, Failure> {
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return Ok(status?),
            signal = signals.next() => child.forward(signal),
        }
    }
}

/// Returns when the lock is lost, with the reason, or when it will be after the grace.
async fn danger(lock: &Lock, grace: Duration) -> Option<Lost> {
    loop {
        let left = lock.time_left().saturating_sub(grace);
        if left.is_zero() {
            // A reason that is known already decides how much time there is.
            return lock.check().err();
        }
        tokio::select! {
            biased;
            lost = lock.lost() => return Some(lost),
            // In pieces, for a machine that slept has less time than its timers think.
            () = tokio::time::sleep(left.min(Duration::from_secs(1))) => {}
        }
    }
}

/// Returns when the command has to be dead.
///
/// A peer that was removed, or is refused, is out already: waiting makes that neither better nor much
/// worse, so the command has its grace.
async fn too_late(lock: &Lock, known: Option<Lost>, grace: Duration) -> Lost {
    match known {
        Some(lost @ (Lost::Refused(_) | Lost::Revoked)) => {
            tokio::time::sleep(grace).await;
            lost
        }
        Some(lost) => lost,
        None => lock.lost().await,
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

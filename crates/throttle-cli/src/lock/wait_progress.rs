//! Shows how long the program has waited and at which place of the queue: at a terminal in a line that is
//! updated, elsewhere in messages.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use humantime::format_duration;
use throttle_client::{Client, Error, Peer, PeerStatus, PendingLock};
use tokio::time::{MissedTickBehavior, interval};

use crate::output;

/// Shows the progress of one wait.
pub(super) struct WaitProgress<'a> {
    /// Makes a single attempt.
    client: &'a Client,
    semaphore: &'a str,
    peer: &'a Peer,
    is_at_terminal: bool,
}

impl<'a> WaitProgress<'a> {
    pub(super) fn new(client: &'a Client, semaphore: &'a str, peer: &'a Peer) -> Self {
        Self { client, semaphore, peer, is_at_terminal: io::stderr().is_terminal() }
    }

    /// Runs `wait`, and shows its progress meanwhile.
    pub(super) async fn show_during<T>(&self, wait: impl Future<Output = T>) -> T {
        let period = if self.is_at_terminal { LINE_PERIOD } else { MESSAGE_PERIOD };
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let report = async {
            let start = ticks.tick().await;
            loop {
                let waited = ticks.tick().await.duration_since(start).as_secs();
                let waited = format_duration(Duration::from_secs(waited));
                if self.is_at_terminal && !is_in_foreground() {
                    continue;
                }
                let state = self.waiting_state().await;
                let text =
                    format!("still waiting for {:?} after {waited}: {state}", self.semaphore);
                if self.is_at_terminal {
                    output::to_stderr(format!("{CLEAR}{text}"));
                } else {
                    output::print_message(text);
                }
            }
        };
        let result = tokio::select! {
            biased;
            result = wait => result,
            never = report => match never {},
        };
        if self.is_at_terminal {
            output::to_stderr(CLEAR.to_owned());
        }
        result
    }

    /// The state of the wait. Asks the server about this peer only, because the queue may be long.
    async fn waiting_state(&self) -> String {
        match self.peer.id() {
            None => match self.client.health().await {
                Ok(()) => "it is asked for".to_owned(),
                Err(error) => cause(error),
            },
            Some(id) => match self.client.peer(id).await {
                Ok(status) => describe(&status),
                Err(error) => cause(error),
            },
        }
    }
}

fn describe(status: &PeerStatus) -> String {
    match &status.pending {
        Some(PendingLock { place: Some(place), .. }) => format!("place {place} in the queue"),
        // Far back in the queue, or the server does not report places.
        Some(_) => "in the queue".to_owned(),
        None => "it is asked for".to_owned(),
    }
}

/// Whether this program is in the foreground of the terminal. A job in the background must not write its line
/// there.
#[cfg(unix)]
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stderr()) == Ok(rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn is_in_foreground() -> bool {
    true
}

/// The error with its causes.
fn cause(error: Error) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

/// How often the line at a terminal is updated.
const LINE_PERIOD: Duration = Duration::from_secs(1);

/// How often a message is written elsewhere, where messages are kept.
const MESSAGE_PERIOD: Duration = Duration::from_secs(30);

/// Returns to the beginning of the line and erases it.
const CLEAR: &str = "\r\x1b[K";

//! A line that tells somebody at a terminal how the wait goes on.

use std::{
    convert::Infallible,
    io::{self, IsTerminal as _},
    time::Duration,
};

use humantime::format_duration;
use throttle_client::{Client, Peer, Semaphore};

use crate::say;

/// Shows the place in the queue, until it is dropped. Then the line is gone.
pub(super) struct Progress<'a> {
    client: &'a Client,
    semaphore: &'a str,
    peer: &'a Peer,
    is_on_terminal: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(client: &'a Client, semaphore: &'a str, peer: &'a Peer) -> Self {
        Self { client, semaphore, peer, is_on_terminal: io::stderr().is_terminal() }
    }

    pub(super) async fn show(&self) -> Infallible {
        if !self.is_on_terminal {
            return std::future::pending().await;
        }
        let mut seconds = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            seconds += 1;
            let place = match self.client.semaphore(self.semaphore).await {
                Ok(semaphore) => place(&semaphore, self.peer.id()),
                Err(error) => error.to_string(),
            };
            let waited = format_duration(Duration::from_secs(seconds));
            say::raw(format!("{CLEAR}waiting for {:?} since {waited}: {place}", self.semaphore));
        }
    }
}

/// Where a peer stands.
fn place(semaphore: &Semaphore, peer: Option<u64>) -> String {
    let (holders, waiters) = (semaphore.held_by.len(), semaphore.queue.len());
    let place = semaphore.queue.iter().position(|waiter| Some(waiter.peer_id) == peer);
    match place {
        Some(place) => format!("place {} of {waiters}, held by {holders}", place + 1),
        None => format!("{waiters} wait, held by {holders}"),
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.is_on_terminal {
            say::raw(CLEAR.to_owned());
        }
    }
}

/// To the beginning of the line, and erase it.
const CLEAR: &str = "\r\x1b[K";

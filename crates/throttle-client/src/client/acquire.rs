//! The builder of a request to the route that acquires a lock.

use std::{pin::Pin, time::Duration};

use throttle_wire::{LockAnswer, LockCount, LockRequest, PeerId};

use super::query::append_query;
use crate::{Client, Error, answer::Answer, retry::Repeat, sequence::OnStale};

/// Asks for a lock when it is awaited. Made by [`Client::acquire`].
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Acquire<'a> {
    client: &'a Client,
    peer: PeerId,
    semaphore: &'a str,
    count: u64,
    query: LockRequest,
    on_stale: OnStale,
}

/// The outcome of a request for a lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "the lock may be pending"]
pub enum Admission {
    /// The peer holds the lock.
    Granted {
        /// The fencing token, which grows with each grant of this semaphore. `None` from a server of
        /// version 0.5, which has no tokens.
        token: Option<u64>,
    },
    /// The lock is pending. Send the request again; the peer keeps its place in the queue.
    Queued,
}

impl<'a> Acquire<'a> {
    pub(crate) fn new(client: &'a Client, peer: PeerId, semaphore: &'a str, count: u64) -> Self {
        Self {
            client,
            peer,
            semaphore,
            count,
            query: LockRequest::default(),
            on_stale: OnStale::Renumber,
        }
    }

    /// Sets the length of the peer's lease and renews it, whatever the outcome of the request.
    pub fn expires_in(mut self, expires_in: Duration) -> Self {
        self.query.expires_in = Some(expires_in);
        self
    }

    /// Lets the server delay the answer until the lock is granted, but no longer than this. Without it the
    /// server answers at once.
    ///
    /// The time is shared by all attempts: a retry asks only for what is left of it. A server that shuts
    /// down, or at which very many requests wait, may answer [`Admission::Queued`] earlier.
    pub fn block_for(mut self, block_for: Duration) -> Self {
        self.query.block_for = Some(block_for);
        self
    }

    /// Sets what happens if a later request of the peer overtakes this one. Default: [`OnStale::Renumber`].
    pub(crate) fn on_stale(mut self, on_stale: OnStale) -> Self {
        self.on_stale = on_stale;
        self
    }

    async fn send(self) -> Result<Admission, Error> {
        let Self { client, peer, semaphore, count, query, on_stale } = self;
        let url = client.first_url().join_name(&format!("peers/{peer}"), semaphore)?;
        let LockRequest { expires_in, block_for, .. } = query;
        // The server refuses all counts above 2^53, so larger ones may be cut.
        let count = LockCount(i64::try_from(count).unwrap_or(i64::MAX));
        let send = async |sequence| {
            let mut url = url.clone();
            // `block_for` is added to each attempt: what is left of it then.
            append_query(&mut url, &LockRequest { expires_in, block_for: None, sequence });
            let request = client.put(url).json(&count);
            match block_for {
                Some(block_for) => client.send_and_wait(request, block_for, admission).await,
                None => client.send(request, Repeat::Always, admission).await,
            }
        };
        on_stale.send(send).await
    }
}

/// The status decides. The body must not contradict it; a server of version 0.5 answers only the peer's id.
fn admission(answer: &Answer) -> Result<Admission, Error> {
    let token = match answer.json::<LockAnswer>() {
        Ok(body) if body.acquired != answer.is_pending() => body.fencing_token,
        Ok(_) => return Err(answer.unexpected()),
        Err(_) => answer.json::<PeerId>().map(|_| None)?,
    };
    Ok(if answer.is_pending() { Admission::Queued } else { Admission::Granted { token } })
}

impl<'a> IntoFuture for Acquire<'a> {
    type Output = Result<Admission, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

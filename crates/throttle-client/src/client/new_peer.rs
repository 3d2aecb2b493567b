//! The builder of a request to the route that creates a peer.

use std::{pin::Pin, time::Duration};

use throttle_wire::{Labels, PeerId};

use crate::{Client, Error, answer::Answer, retry::Repeat};

/// Creates a peer when it is awaited. Made by [`Client::new_peer`].
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct NewPeer<'a> {
    client: &'a Client,
    body: throttle_wire::NewPeer,
}

impl<'a> NewPeer<'a> {
    pub(crate) fn new(client: &'a Client, expires_in: Duration) -> Self {
        let body = throttle_wire::NewPeer { expires_in, labels: Labels::new() };
        Self { client, body }
    }

    /// Adds labels, which the server shows to people who look at locks, such as a host and a job.
    pub fn labels<N: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.body.labels.extend(labels);
        self
    }

    async fn send(self) -> Result<PeerId, Error> {
        let request = self.client.post("new_peer").json(&self.body);
        // A lost answer may leave a peer behind. It holds nothing, and ends with its lease.
        self.client.send(request, Repeat::Always, Answer::json).await
    }
}

impl<'a> IntoFuture for NewPeer<'a> {
    type Output = Result<PeerId, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

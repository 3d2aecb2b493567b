//! One method for each route.

use std::time::Duration;

use reqwest::{Method, Url, header::ACCEPT};
use serde::{Serialize, de::DeserializeOwned};
use throttle_wire::{
    Code, Heartbeat, HeldGrant, Holder, PeerId, PeerStatus, Readiness, Release, Reloaded,
    Remainder, RemovePeer, Restore, SemaphoreOverview, SemaphoreStatus,
};

use super::query::append_query;
use crate::{Acquire, Client, Error, NewPeer, answer::Answer, retry::Repeat, sequence::OnStale};

impl Client {
    /// Creates a peer without locks and returns its id. `expires_in` is the length of its lease: how long it
    /// lives without a heartbeat.
    ///
    /// If the answer is lost, the request is repeated. The peer that was created first then ends with its
    /// lease.
    ///
    /// Refused with `too_many_peers`, `expires_in_too_long` and `labels_too_large`.
    pub fn new_peer(&self, expires_in: Duration) -> NewPeer<'_> {
        NewPeer::new(self, expires_in)
    }

    /// Sets the length of a peer's lease and renews it.
    ///
    /// # Errors
    ///
    /// `unknown_peer`, `expires_in_too_long`
    pub async fn heartbeat(&self, peer: PeerId, expires_in: Duration) -> Result<(), Error> {
        let url = self.first_url().join(&format!("peers/{peer}"));
        let request = self.put(url).json(&Heartbeat { expires_in });
        self.send(request, Repeat::Always, |answer| answer.expect_body("Ok")).await
    }

    /// Removes a peer with all its held and pending locks, and returns whether it existed. If the answer to
    /// the first attempt was lost, `false` may mean that this attempt removed it.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn remove_peer(&self, peer: PeerId) -> Result<bool, Error> {
        let url = self.first_url().join(&format!("peers/{peer}"));
        let read = |answer: &Answer| match answer.json::<String>()?.as_str() {
            "Peer released" => Ok(true),
            "Peer not found" => Ok(false),
            _ => Err(answer.unexpected()),
        };
        self.delete(&url, |sequence| RemovePeer { sequence }, read).await
    }

    /// Asks for `count` of `semaphore` on behalf of `peer`.
    ///
    /// The request can be repeated safely: a held lock is granted again with the same token, and a pending
    /// lock keeps its place in the queue. A smaller count than before shrinks the lock. If the connection
    /// breaks, the request is sent again even if another task has released the same lock meanwhile; a dropped
    /// future is not.
    ///
    /// Refused with `unknown_peer`, `unknown_semaphore`, `invalid_lock_count`, `never_acquirable`,
    /// `lock_hierarchy_violation`, `already_pending`, `too_many_waiters`, `cancelled`,
    /// `lock_count_too_large`, `name_too_long`, `expires_in_too_long` and `block_for_too_long`, and by this
    /// client with [`Error::InvalidName`].
    pub fn acquire<'a>(&'a self, peer: PeerId, semaphore: &'a str, count: u64) -> Acquire<'a> {
        Acquire::new(self, peer, semaphore, count)
    }

    /// Releases the lock that `peer` holds on `semaphore`, or cancels its pending lock. Succeeds also if
    /// there is neither.
    ///
    /// # Errors
    ///
    /// - `unknown_peer`, `unknown_semaphore`, `name_too_long`
    /// - [`Error::InvalidName`]
    pub async fn release(&self, peer: PeerId, semaphore: &str) -> Result<(), Error> {
        let url = self.first_url().join_name(&format!("peers/{peer}"), semaphore)?;
        self.delete(&url, |sequence| Release { sequence }, |answer| answer.expect_body("Ok")).await
    }

    /// Whether `peer` has no pending lock.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub async fn is_acquired(&self, peer: PeerId) -> Result<bool, Error> {
        self.fetch(self.first_url().join(&format!("peers/{peer}/is_acquired"))).await
    }

    /// The held locks and the pending lock of `peer`.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub async fn peer(&self, peer: PeerId) -> Result<PeerStatus, Error> {
        self.fetch(self.first_url().join(&format!("peers/{peer}"))).await
    }

    /// The held and pending locks of all peers.
    ///
    /// The complete list must arrive within the [timeout](crate::ClientBuilder::timeout). The list of a server of
    /// version 0.5 has too few fields, and is an error.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, Error> {
        self.fetch(self.first_url().join("peers/")).await
    }

    /// Restores a peer with its id and all locks that it holds, at a server that forgot it. If the peer
    /// exists with exactly these locks, this only renews its lease.
    ///
    /// # Errors
    ///
    /// `restore_conflict`, `unknown_semaphore`, `invalid_lock_count`, `lock_count_too_large`,
    /// `invalid_field`, `too_many_peers`, `name_too_long`, `expires_in_too_long`, `labels_too_large`
    pub async fn restore(&self, peer: &Restore) -> Result<(), Error> {
        let answer = OnStale::Renumber.send(|sequence| {
            let restore = Restore { sequence, ..peer.clone() };
            let request = self.post("restore").json(&restore);
            self.send(request, Repeat::Always, |answer| answer.expect_body("Ok"))
        });
        answer.await
    }

    /// The free part of `semaphore`: its maximum minus the sum of held counts. Negative if more is held,
    /// after restores or after the maximum was lowered.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`, `name_too_long`
    pub async fn remainder(&self, semaphore: &str) -> Result<i64, Error> {
        let mut url = self.first_url().join("remainder");
        append_query(&mut url, &Remainder { semaphore: semaphore.to_owned() });
        self.fetch(url).await
    }

    /// The numbers of all semaphores, ordered by name.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn semaphores(&self) -> Result<Vec<SemaphoreStatus>, Error> {
        self.fetch(self.first_url().join("semaphores")).await
    }

    /// The numbers of one semaphore, its holders and its queue.
    ///
    /// # Errors
    ///
    /// - `unknown_semaphore`, `name_too_long`
    /// - [`Error::InvalidName`]
    pub async fn semaphore(&self, name: &str) -> Result<SemaphoreOverview, Error> {
        self.fetch(self.first_url().join_name("semaphores", name)?).await
    }

    /// Whether the lock on `semaphore` that was granted with this fencing token is held at this moment.
    ///
    /// This is for resources that a lock protects: they ask before they let the holder write, and refuse unless the
    /// answer is `true`. Comparing tokens is cheaper, but right only if the semaphore has a maximum of one. See
    /// [`holder`](Self::holder) for how long the answer holds.
    ///
    /// # Errors
    ///
    /// - `unknown_semaphore`, `name_too_long`
    /// - [`Error::InvalidName`]
    pub async fn is_held(&self, semaphore: &str, token: u64) -> Result<bool, Error> {
        Ok(self.holder(semaphore, token).await?.is_some())
    }

    /// Who holds the lock on `semaphore` that was granted with this fencing token; `None` if it is not held at this
    /// moment.
    ///
    /// From the instant at which this request was sent, the lock is not granted to anybody else for
    /// [`time_left`](Holder::time_left), unless the holder releases it or shortens its lease, or an operator removes
    /// the peer. A resource that has written by then has written under the lock.
    ///
    /// A server that forgot its peers at a restart grants restored locks under new tokens: there the old token of
    /// such a lock is not held. A server with a durable memory keeps the tokens.
    ///
    /// # Errors
    ///
    /// As [`is_held`](Self::is_held).
    pub async fn holder(&self, semaphore: &str, token: u64) -> Result<Option<Holder>, Error> {
        let names = [semaphore, "fencing", &token.to_string()];
        match self.fetch(self.first_url().join_names("semaphores", &names)?).await {
            Ok(HeldGrant { holder, .. }) => Ok(Some(holder)),
            Err(Error::Refused { code: Code::NotHeld, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Succeeds if the server answers at this moment. Never repeated.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn health(&self) -> Result<(), Error> {
        let request = self.get_request(self.first_url().join("health"));
        self.send(request, Repeat::Never, |answer| answer.expect_body("Ok")).await
    }

    /// Whether the server accepts work at this moment. It does not while it shuts down. Never repeated.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn ready(&self) -> Result<bool, Error> {
        Ok(self.readiness().await?.is_some())
    }

    /// Whether a grace period runs at the server, and whether its memory is durable; `None` while it shuts down.
    /// Never repeated.
    ///
    /// A server that does not report this is taken for one without either.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn readiness(&self) -> Result<Option<Readiness>, Error> {
        let request = self.get_request(self.first_url().join("ready"));
        let request = request.header(ACCEPT, "application/json");
        match self.send(request, Repeat::Never, Answer::readiness).await {
            Ok(readiness) => Ok(Some(readiness)),
            Err(Error::Refused { code: Code::NotReady, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The version of the server.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn version(&self) -> Result<String, Error> {
        let request = self.get_request(self.first_url().join("version"));
        self.send(request, Repeat::Always, Answer::text).await
    }

    /// The metrics of the server in the text format of Prometheus.
    ///
    /// # Errors
    ///
    /// `unknown_route` from routes that have no metrics.
    pub async fn metrics(&self) -> Result<String, Error> {
        let request = self.get_request(self.first_url().join("metrics"));
        self.send(request, Repeat::Always, Answer::text).await
    }

    /// Makes the server read its configuration again, and returns what changed.
    ///
    /// Repeated only if the server certainly did not execute it, because a second reload would report no
    /// changes.
    ///
    /// # Errors
    ///
    /// - `reload_refused`: the configuration is invalid, and the old one stays in force.
    /// - `unknown_route` from routes that have no configuration.
    pub async fn reload(&self) -> Result<Reloaded, Error> {
        self.send(self.post("admin/reload"), Repeat::IfNotExecuted, Answer::json).await
    }

    /// Gets a route, and returns the body of the answer unchanged, including fields of newer servers that
    /// this client does not know.
    ///
    /// The segments of the route are percent-encoded: `["semaphores", "a/b"]` asks for one semaphore.
    ///
    /// # Errors
    ///
    /// - the codes of the route
    /// - [`Error::InvalidName`] if a segment after the first is one that no path can carry.
    pub async fn get(&self, segments: &[&str]) -> Result<String, Error> {
        let request = self.get_request(self.route(segments)?);
        self.send(request, Repeat::Always, Answer::raw_text).await
    }

    /// Posts to a route without a body, and returns the body of the answer unchanged.
    ///
    /// Repeated only if the server certainly did not execute it.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn post_empty(&self, segments: &[&str]) -> Result<String, Error> {
        let request = self.inner.transport.request(Method::POST, self.route(segments)?);
        self.send(request, Repeat::IfNotExecuted, Answer::raw_text).await
    }

    fn route(&self, segments: &[&str]) -> Result<Url, Error> {
        match segments {
            [] => Ok(self.first_url().join("")),
            [only] => Ok(self.first_url().join(only)),
            [first, names @ ..] => self.first_url().join_names(first, names),
        }
    }

    /// Deletes a peer or a lock. The request has a sequence number.
    async fn delete<T, Q: Serialize>(
        &self,
        url: &Url,
        query: impl Fn(Option<u64>) -> Q,
        read: impl Fn(&Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let delete = |sequence| {
            let mut url = url.clone();
            append_query(&mut url, &query(sequence));
            let request = self.inner.transport.request(Method::DELETE, url);
            self.send(request, Repeat::Always, &read)
        };
        OnStale::Renumber.send(delete).await
    }

    /// Gets the JSON at `url`.
    async fn fetch<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        self.send(self.get_request(url), Repeat::Always, Answer::json).await
    }
}

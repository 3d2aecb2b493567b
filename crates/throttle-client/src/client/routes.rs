//! One method for each route.

use std::time::Duration;

use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use throttle_wire::{
    Code, Heartbeat, PeerId, PeerStatus, Reloaded, Restore, SemaphoreOverview, SemaphoreStatus,
};

use crate::{
    Acquire, Client, Error, NewPeer,
    answer::Answer,
    retry::Repeat,
    sequence::{OnStale, with_sequence},
};

impl Client {
    /// Creates a peer without locks and returns its id. `expires_in` is the length of its lease: how
    /// long it lives without a heartbeat.
    ///
    /// Should an answer get lost, it is asked for again, and the peer that nobody knows of lives until its
    /// lease ends.
    ///
    /// Refused with `too_many_peers`, `expires_in_too_long` and `labels_too_large`.
    pub fn new_peer(&self, expires_in: Duration) -> NewPeer<'_> {
        NewPeer::new(self, expires_in)
    }

    /// Sets the length of a peer's lease and lets it begin anew.
    ///
    /// # Errors
    ///
    /// `unknown_peer`, `expires_in_too_long`
    pub async fn heartbeat(&self, peer: PeerId, expires_in: Duration) -> Result<(), Error> {
        let url = self.first_url().join(&format!("peers/{peer}"));
        let request = self.put(url).json(&Heartbeat { expires_in });
        self.send(request, Repeat::Always, |answer| answer.expect_body("Ok")).await
    }

    /// Removes a peer with all it holds and waits for, and returns whether it existed. If the answer
    /// to the first attempt was lost, `false` may mean that this attempt removed it.
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
        self.delete(&url, read).await
    }

    /// Asks for `count` of `semaphore` on behalf of `peer`.
    ///
    /// Safe to repeat: who asks again for what they hold is told so again, and who waits keeps their
    /// place. A smaller count than before shrinks the lock. A request whose connection breaks is sent again
    /// also after another task has released the same lock; a future that is dropped is not.
    ///
    /// Refused with `unknown_peer`, `unknown_semaphore`, `invalid_lock_count`, `never_acquirable`,
    /// `lock_hierarchy_violation`, `already_pending`, `too_many_waiters`, `cancelled`,
    /// `lock_count_too_large`, `name_too_long`, `expires_in_too_long` and `block_for_too_long`, and
    /// by this client with [`Error::InvalidName`].
    pub fn acquire<'a>(&'a self, peer: PeerId, semaphore: &'a str, count: u64) -> Acquire<'a> {
        Acquire::new(self, peer, semaphore, count)
    }

    /// Gives back what `peer` holds of `semaphore`, or cancels that it waits for it. That there is
    /// neither is no error.
    ///
    /// # Errors
    ///
    /// - `unknown_peer`, `unknown_semaphore`, `name_too_long`
    /// - [`Error::InvalidName`]
    pub async fn release(&self, peer: PeerId, semaphore: &str) -> Result<(), Error> {
        let url = self.first_url().join_name(&format!("peers/{peer}"), semaphore)?;
        self.delete(&url, |answer| answer.expect_body("Ok")).await
    }

    /// Whether `peer` waits for nothing.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub async fn is_acquired(&self, peer: PeerId) -> Result<bool, Error> {
        self.fetch(self.first_url().join(&format!("peers/{peer}/is_acquired"))).await
    }

    /// What `peer` holds, and what it waits for.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub async fn peer(&self, peer: PeerId) -> Result<PeerStatus, Error> {
        self.fetch(self.first_url().join(&format!("peers/{peer}"))).await
    }

    /// What all peers hold, and what they wait for.
    ///
    /// All of it has to arrive within the [timeout](ClientBuilder::timeout). A server of version 0.5
    /// tells too little to be understood.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, Error> {
        self.fetch(self.first_url().join("peers/")).await
    }

    /// Brings back a peer under the id it had, with all the locks that it holds, for a server that
    /// forgot it. If it exists with exactly these locks, only its lease begins anew.
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

    /// What is free of `semaphore`: its maximum minus all that is held. Negative while more is held
    /// after restores or a lowered maximum.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`, `name_too_long`
    pub async fn remainder(&self, semaphore: &str) -> Result<i64, Error> {
        let mut url = self.first_url().join("remainder");
        url.query_pairs_mut().append_pair("semaphore", semaphore);
        self.fetch(url).await
    }

    /// All semaphores in numbers, in the order of their names.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn semaphores(&self) -> Result<Vec<SemaphoreStatus>, Error> {
        self.fetch(self.first_url().join("semaphores")).await
    }

    /// One semaphore in numbers, who holds it since when, and who waits.
    ///
    /// # Errors
    ///
    /// - `unknown_semaphore`, `name_too_long`
    /// - [`Error::InvalidName`]
    pub async fn semaphore(&self, name: &str) -> Result<SemaphoreOverview, Error> {
        self.fetch(self.first_url().join_name("semaphores", name)?).await
    }

    /// Succeeds if the server is there at this moment. Never repeated.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn health(&self) -> Result<(), Error> {
        let request = self.get_request(self.first_url().join("health"));
        self.send(request, Repeat::Never, |answer| answer.expect_body("Ok")).await
    }

    /// Whether the server takes on work at this moment, which it does not while it shuts down. Never
    /// repeated.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub async fn ready(&self) -> Result<bool, Error> {
        let request = self.get_request(self.first_url().join("ready"));
        match self.send(request, Repeat::Never, |answer| answer.expect_body("Ready")).await {
            Ok(()) => Ok(true),
            Err(Error::Refused { code: Code::NotReady, .. }) => Ok(false),
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

    /// Lets the server read its configuration anew, and returns what changed.
    ///
    /// Repeated only if the server did certainly not do it, for a second time nothing would change.
    ///
    /// # Errors
    ///
    /// - `reload_refused`: the configuration is bad, and the old one stays in force.
    /// - `unknown_route` from routes that have no configuration.
    pub async fn reload(&self) -> Result<Reloaded, Error> {
        self.send(self.post("admin/reload"), Repeat::IfNotExecuted, Answer::json).await
    }

    /// Asks a route for reading, and returns the body of the answer as the server wrote it: with
    /// whatever a newer server tells beyond what this client understands.
    ///
    /// The segments of the route are percent-encoded: `["semaphores", "a/b"]` asks for one semaphore.
    ///
    /// # Errors
    ///
    /// - the codes of the route
    /// - [`Error::InvalidName`] if the last segment is one that no path can carry.
    pub async fn get(&self, segments: &[&str]) -> Result<String, Error> {
        let request = self.get_request(self.route(segments)?);
        self.send(request, Repeat::Always, Answer::raw_text).await
    }

    /// Posts to a route without a body, and returns the body of the answer as the server wrote it.
    ///
    /// Repeated only if the server did certainly not do it.
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
            [parents @ .., last] => self.first_url().join_name(&parents.join("/"), last),
        }
    }

    /// Asks for the end of something that a peer has, in the order of its requests.
    async fn delete<T>(
        &self,
        url: &Url,
        read: impl Fn(&Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let delete = |sequence| {
            let url = with_sequence(url.clone(), sequence);
            let request = self.inner.transport.request(Method::DELETE, url);
            self.send(request, Repeat::Always, &read)
        };
        OnStale::Renumber.send(delete).await
    }

    /// Gets what is at `url` as JSON.
    async fn fetch<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        self.send(self.get_request(url), Repeat::Always, Answer::json).await
    }
}

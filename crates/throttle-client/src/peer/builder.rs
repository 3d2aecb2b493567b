//! Settings of a peer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use throttle_wire::{Labels, PeerId};
use tokio::{
    runtime,
    sync::{Notify, watch},
};

use super::{LONGEST_BLOCK_FOR, Peer, PeerInner, PeerState, RemoveOnDrop, heartbeat_task};
use crate::{Client, clock::Clock, lease::Lease};

/// Builds a [`Peer`].
///
/// ```
/// use std::time::Duration;
/// use throttle_client::{Client, Peer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), throttle_client::Error> {
/// let throttle = Client::new("http://localhost:8000")?;
/// let peer = Peer::builder(&throttle)
///     .lease(Duration::from_secs(20))
///     .label("job", "nightly")
///     .build();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PeerBuilder {
    client: Client,
    lease: Duration,
    interval: Option<Duration>,
    labels: Labels,
    default_labels: Labels,
    sends_heartbeats: bool,
    resumed: Option<(PeerId, BTreeMap<String, u64>)>,
}

impl PeerBuilder {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            lease: Duration::from_secs(60),
            interval: None,
            labels: Labels::new(),
            default_labels: Labels::new(),
            sends_heartbeats: true,
            resumed: None,
        }
    }

    /// The length of the lease: how long the server keeps the peer without a heartbeat. Default: a minute; at
    /// least 100 ms.
    ///
    /// If this program dies, others wait this long for its locks. If the server is unreachable for this long,
    /// the locks are lost. Heartbeats are sent more than three times as often.
    #[must_use]
    pub fn lease(mut self, length: Duration) -> Self {
        self.lease = length.max(SHORTEST_LEASE);
        self
    }

    /// The longest time between two heartbeats. Default, and upper limit: a third of the lease.
    #[must_use]
    pub fn heartbeat_every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval.max(SHORTEST_INTERVAL));
        self
    }

    /// Whether heartbeats are sent. Default: `true`.
    ///
    /// Without heartbeats only a request for a lock renews the lease, and all locks are lost when the lease
    /// ends. The peer never reports a lock as held for longer.
    #[must_use]
    pub fn heartbeat(mut self, sends_heartbeats: bool) -> Self {
        self.sends_heartbeats = sends_heartbeats;
        self
    }

    /// Adds a label, which the server shows to people who look at the peer or at the locks it holds.
    #[must_use]
    pub fn label(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels([(name, value)])
    }

    /// Adds several [labels](Self::label).
    #[must_use]
    pub fn labels<N: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.labels.extend(labels);
        self
    }

    /// Sets labels that are useful but not required, such as [`process_labels`](fn@crate::process_labels).
    /// [Labels](Self::label) of the same name replace them. If the server refuses labels of this size or
    /// number, these are left out.
    #[must_use]
    pub fn default_labels(mut self, labels: Labels) -> Self {
        self.default_labels = labels;
        self
    }

    /// Takes over an existing peer, for example from an earlier process, that is believed to hold `held`.
    ///
    /// The peer is first restored with these locks, whether the server knows it or not. From then on it is a
    /// peer like any other. Ask for each lock again by [`Peer::lock`] to get a [`Lock`](crate::Lock).
    ///
    /// Resume only a peer whose lease cannot have ended since. This process has never seen it confirmed, so it
    /// cannot tell a peer that somebody removed from one that the server forgot, and restores both.
    #[must_use]
    pub fn resume(mut self, peer: PeerId, held: BTreeMap<String, u64>) -> Self {
        self.resumed = Some((peer, held));
        self
    }

    /// Builds the peer. It is created at the server when the first lock is requested.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn build(self) -> Peer {
        let resumed = self.resumed.clone();
        let inner = Arc::new(self.inner());
        if let Some((peer, held)) = resumed {
            let mut state = inner.state();
            state.lease.resumed(peer, held, inner.now());
            state.has_heartbeat_task = true;
            drop(state);
            heartbeat_task::start(&inner);
        }
        Peer { owner: Arc::new(RemoveOnDrop(inner)) }
    }

    fn inner(self) -> PeerInner {
        let Self { client, lease: length, interval, labels, default_labels, .. } = self;
        let lease = Lease::new(length, interval);
        let state = PeerState {
            lease: if self.sends_heartbeats { lease } else { lease.without_heartbeats() },
            loss: watch::Sender::new(None),
            has_heartbeat_task: false,
            to_remove: None,
            default_labels_refused: false,
            longest_block_for: LONGEST_BLOCK_FOR,
            confirmed_url_index: None,
        };
        PeerInner {
            single_attempt: client.single_attempt(client.timeout()),
            server: client.urls().join(", ").into(),
            client,
            labels,
            default_labels,
            clock: Clock::start(),
            runtime: runtime::Handle::current(),
            state: Mutex::new(state),
            lease_changed: Notify::new(),
            confirmed: watch::Sender::new(None),
            closing: watch::Sender::new(None),
            closed: watch::Sender::new(false),
            server_sync: Arc::default(),
            acquiring: Arc::default(),
            releasing: watch::Sender::new(BTreeSet::new()),
        }
    }
}

/// With a shorter lease, ordinary network delays would lose locks.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// More frequent heartbeats only cause load.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

//! What a peer is made of.

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

    /// How long the server keeps the peer without a heartbeat. Default: a minute; at least 100 ms.
    ///
    /// It is how long others have to wait if this program dies, and how long the server may be away
    /// before locks are lost. Heartbeats are sent more than three times as often.
    #[must_use]
    pub fn lease(mut self, length: Duration) -> Self {
        self.lease = length.max(SHORTEST_LEASE);
        self
    }

    /// The longest time between two heartbeats. Without it, and at most, it is a third of the lease.
    #[must_use]
    pub fn heartbeat_every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval.max(SHORTEST_INTERVAL));
        self
    }

    /// Whether heartbeats are sent. Default: `true`.
    ///
    /// Without them the lease begins anew with each request for a lock only, and what the peer holds is lost
    /// when it ends. The peer never says to hold anything for longer.
    #[must_use]
    pub fn heartbeat(mut self, sends_heartbeats: bool) -> Self {
        self.sends_heartbeats = sends_heartbeats;
        self
    }

    /// What the server tells about the peer to those who ask who holds a lock.
    #[must_use]
    pub fn label(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels([(name, value)])
    }

    /// Several [labels](Self::label).
    #[must_use]
    pub fn labels<N: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.labels.extend(labels);
        self
    }

    /// Labels that are good to have, such as [`process_labels`](crate::process_labels). They yield to
    /// [labels](Self::label) of the same name, and are left out if the server takes no such labels, or no
    /// more of them.
    #[must_use]
    pub fn default_labels(mut self, labels: Labels) -> Self {
        self.default_labels = labels;
        self
    }

    /// Takes over a peer that was there before, such as one of an earlier process, and that holds `held` as
    /// far as is known.
    ///
    /// The first contact tells the server what it holds, whether the server knows the peer or not. Then it is
    /// a peer as any other. [`Peer::lock`] asks again for each lock, and makes it a [`Lock`](crate::Lock).
    #[must_use]
    pub fn resume(mut self, peer: PeerId, held: BTreeMap<String, u64>) -> Self {
        self.resumed = Some((peer, held));
        self
    }

    /// The peer. The server hears of it when the first lock is asked for.
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
            url: None,
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

/// Below it the network decides whether a lock is lost.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// Below it they are nothing but a load.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

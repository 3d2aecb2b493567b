//! What a peer is made of.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use throttle_wire::Labels;
use tokio::{
    runtime,
    sync::{Notify, watch},
};

use super::{Owner, Peer, Shared, State};
use crate::{Client, lease::Lease, world::Clock};

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
    labels: Labels,
}

impl PeerBuilder {
    pub(super) fn new(client: &Client) -> Self {
        Self { client: client.clone(), lease: Duration::from_secs(60), labels: Labels::new() }
    }

    /// How long the server keeps the peer without a sign of life. Default: a minute; at least 100 ms.
    ///
    /// It is how long others have to wait if this program dies, and how long the server may be away
    /// before locks are lost. Signs of life are shown more than three times as often.
    #[must_use]
    pub fn lease(mut self, length: Duration) -> Self {
        self.lease = length.max(SHORTEST_LEASE);
        self
    }

    /// What the server tells about the peer to those who ask who holds a lock.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// The peer. The server hears of it when the first lock is asked for.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn build(self) -> Peer {
        let Self { client, lease, labels } = self;
        let state = State {
            lease: Lease::new(lease),
            fate: watch::Sender::new(None),
            has_keeper: false,
            way: 0,
        };
        let shared = Shared {
            swift: client.once(lease / 3),
            client,
            labels,
            clock: Clock::start(),
            runtime: runtime::Handle::current(),
            state: Mutex::new(state),
            changed: Notify::new(),
            closing: watch::Sender::new(false),
            closed: watch::Sender::new(false),
            upkeep: tokio::sync::Mutex::new(()),
            turn: Arc::new(tokio::sync::Mutex::new(())),
            giving_back: watch::Sender::new(BTreeSet::new()),
        };
        Peer { owner: Arc::new(Owner(Arc::new(shared))) }
    }
}

/// Below it the network decides whether a lock is lost.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

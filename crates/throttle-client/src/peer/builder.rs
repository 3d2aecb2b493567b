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

use super::{End, Owner, Peer, Shared, State, keeper};
use crate::{
    Client,
    lease::Lease,
    world::{Clock, Time},
};

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
}

impl PeerBuilder {
    pub(super) fn new(client: &Client) -> Self {
        let (client, labels) = (client.clone(), Labels::new());
        Self { client, lease: Duration::from_secs(60), interval: None, labels }
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

    /// The longest time between two signs of life. Without it, and at most, it is a third of the lease.
    #[must_use]
    pub fn heartbeat_every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval.max(SHORTEST_INTERVAL));
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
        Peer { owner: Arc::new(Owner(Arc::new(self.shared(End::Remove)))) }
    }

    /// A peer that the server knows already, with what it holds, whose last sign of life was sent
    /// `sent_ago`. From now on it is kept alive, and restored if the server does not know it.
    ///
    /// When it is dropped the signs of life end, and it stays where it is. It tells nobody but
    /// [`Peer::lost`] if it is lost, and [`Peer::lock`] does not know what it holds: this is for
    /// programs that ask for locks by the methods of [`Client`] themselves.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn adopt(self, peer: PeerId, held: BTreeMap<String, u64>, sent_ago: Duration) -> Peer {
        let mut shared = self.shared(End::Leave);
        shared.clock = Clock::started(sent_ago);
        let shared = Arc::new(shared);
        let mut state = shared.state();
        state.lease.adopted(peer, held, Time::START);
        state.has_keeper = true;
        drop(state);
        keeper::start(&shared);
        Peer { owner: Arc::new(Owner(shared)) }
    }

    fn shared(self, end: End) -> Shared {
        let Self { client, lease, interval, labels } = self;
        let state = State {
            lease: Lease::new(lease, interval),
            fate: watch::Sender::new(None),
            has_keeper: false,
            way: None,
        };
        Shared {
            end,
            swift: client.single_attempt(lease / 3 * 2),
            client,
            labels,
            clock: Clock::start(),
            runtime: runtime::Handle::current(),
            state: Mutex::new(state),
            changed: Notify::new(),
            closing: watch::Sender::new(None),
            closed: watch::Sender::new(false),
            upkeep: Arc::default(),
            turn: Arc::default(),
            giving_back: watch::Sender::new(BTreeSet::new()),
        }
    }
}

/// Below it the network decides whether a lock is lost.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// Below it they are nothing but a load.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

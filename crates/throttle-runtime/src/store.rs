//! The interface of a durable store, and the records that it keeps.
//!
//! A store keeps facts about the present: each peer, each semaphore, and the sequence numbers of peers that are
//! gone. It knows nothing about semaphores; it keeps what it is given and gives it back. The runtime decides
//! what belongs to one [`Batch`], and shows no change before the batch that holds it is durable.
//!
//! Records name semaphores by their names and instants by the wall clock, because both must mean the same to the
//! next process. Instants are for people only: no lease depends on them.

use std::{sync::Arc, time::Duration};

use throttle_core::{Count, FencingToken, Level, PeerId, Sequence};

/// A store that keeps the state of a service over the end of its process.
///
/// One service writes to a store at a time; the store refuses a second one when it is opened.
pub trait Store: Send + 'static {
    /// Passes every record to `receive`: first the semaphores, then the peers, then the numbers of absent peers.
    /// Returns the meta record, or `None` if the store is new and empty.
    ///
    /// It is called once, before the first [`write`](Self::write), and may take long.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read or is damaged, and the error of `receive`.
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError>;

    /// Makes a batch durable: all of it, or nothing. It has reached the disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. The service then stops answering, because what reached the disk is unknown, and never calls
    /// this again.
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// How many records one batch may hold. A larger change is written as several batches.
    fn max_batch(&self) -> usize;

    /// Whether [`write`](Self::write) blocks its thread, so that it needs one of its own.
    fn blocks(&self) -> bool {
        true
    }
}

/// Why a store failed. It says which file or server, and what an operator can do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    message: Arc<str>,
}

impl StoreError {
    /// An error with this message: a sentence without a final period that names the store and the reason.
    pub fn new(message: impl Into<Arc<str>>) -> Self {
        Self { message: message.into() }
    }
}

/// An instant of the wall clock, in milliseconds since 1970. For people; nothing is decided by it.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// How long this is after `earlier`; zero if it is before.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// What is known of the store as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Meta {
    /// Identifies the store. Drawn when it is made, and never changed.
    pub id: u64,
    /// When it was made. A peer that was created later, and is not in it, was removed or has expired.
    pub made_at: UnixTime,
    /// Semaphores without a record mint tokens above this one.
    pub token_floor: FencingToken,
}

/// A record, as [`Store::load`] passes it on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Record {
    /// A semaphore that was configured, or that is held or awaited.
    Semaphore(SemaphoreRecord),
    /// A peer.
    Peer(PeerRecord),
    /// The number of a peer that is gone.
    Absent(AbsentRecord),
}

/// A semaphore.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SemaphoreRecord {
    /// Its name.
    pub name: Arc<str>,
    /// The greatest token minted so far.
    pub last_token: FencingToken,
    /// Its maximum when the record was written.
    pub max: Count,
    /// Its level when the record was written.
    pub level: Level,
}

/// A peer with its locks.
pub type PeerRecord = throttle_core::PeerRecord<Arc<str>, UnixTime>;

/// A peer that is gone, with the lowest number that may still restore it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AbsentRecord {
    /// Which peer.
    pub peer: PeerId,
    /// The number.
    pub sequence: Sequence,
    /// Since when it is gone.
    pub since: UnixTime,
}

/// Records that become durable together: of everything that changed since the batch before, its state after the
/// last operation of this one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// The meta record, if it changed.
    pub meta: Option<Meta>,
    /// Semaphores by name; `None` removes the record. Each name occurs once.
    pub semaphores: Vec<(Arc<str>, Option<SemaphoreRecord>)>,
    /// Peers by id. Each id occurs once.
    pub peers: Vec<(PeerId, PeerChange)>,
}

/// The state of a peer after a batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PeerChange {
    /// It exists. Its absent record, if there is one, is removed.
    Living(PeerRecord),
    /// It is gone, and its number is remembered. Its record as a peer, if there is one, is removed.
    Absent(AbsentRecord),
    /// It is gone without a trace. Both of its records are removed.
    Gone,
}

impl Batch {
    /// The number of records.
    pub const fn len(&self) -> usize {
        self.meta.is_some() as usize + self.semaphores.len() + self.peers.len()
    }

    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

//! Records for tests.

use std::{sync::Arc, time::Duration};

use throttle_core::{
    Count, FencingToken, HeldRecord, Level, PeerId, PendingRecord, Sequence, Ticket,
};
use throttle_runtime::{
    AbsentRecord, Batch, Meta, PeerChange, PeerRecord, Record, SemaphoreRecord, Store, StoreError,
    UnixTime,
};

pub(crate) const META: Meta =
    Meta { id: 0xfeed_face_cafe_beef, made_at: UnixTime(1_764_336_000_000), token_floor: token(7) };

pub(crate) const fn token(number: u64) -> FencingToken {
    FencingToken::new(number).expect("it is small")
}

pub(crate) fn id(number: u64) -> PeerId {
    PeerId::new(number).unwrap()
}

pub(crate) fn semaphore(name: &str) -> SemaphoreRecord {
    SemaphoreRecord {
        name: Arc::from(name),
        last_token: token(9),
        max: Count::new(12).unwrap(),
        level: Level(-3),
    }
}

/// A peer that holds one lock and awaits another one.
pub(crate) fn peer(number: u64) -> PeerRecord {
    let labels = [("host", "wörker \"7\""), ("job", "")];
    PeerRecord {
        id: id(number),
        expires_in: Duration::new(30, 5),
        labels: labels
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        sequence: Sequence::new(number).unwrap(),
        held: vec![HeldRecord {
            semaphore: Arc::from("db"),
            count: Count::new(number).unwrap(),
            token: token(number),
            since: UnixTime(1_764_336_000_001),
        }],
        pending: Some(PendingRecord {
            semaphore: Arc::from("a/b c"),
            count: Count::MAX,
            ticket: Ticket::new(u64::MAX),
            since: UnixTime(u64::MAX),
        }),
    }
}

/// A peer without anything.
pub(crate) fn bare(number: u64) -> PeerRecord {
    PeerRecord {
        id: id(number),
        expires_in: Duration::ZERO,
        labels: [].into_iter().collect(),
        sequence: Sequence::default(),
        held: Vec::new(),
        pending: None,
    }
}

pub(crate) fn absent(number: u64) -> AbsentRecord {
    AbsentRecord { peer: id(number), sequence: Sequence::MAX, since: UnixTime(1) }
}

/// A batch that writes the meta record and some of each kind.
pub(crate) fn batch() -> Batch {
    let names = ["db", "a/b c", ""].map(|name| (Arc::from(name), Some(semaphore(name))));
    Batch {
        meta: Some(META),
        semaphores: names.into(),
        peers: vec![living(peer(3)), living(bare(u64::MAX)), gone(absent(2)), living(peer(1))],
    }
}

/// What a store holds after [`batch`], in the order in which it gives it back.
pub(crate) fn records() -> Vec<Record> {
    let semaphores = ["", "a/b c", "db"].map(|name| Record::Semaphore(semaphore(name)));
    let peers = [peer(1), peer(3), bare(u64::MAX)].map(Record::Peer);
    let absent = [Record::Absent(absent(2))];
    semaphores.into_iter().chain(peers).chain(absent).collect()
}

pub(crate) fn living(record: PeerRecord) -> (PeerId, PeerChange) {
    (record.id, PeerChange::Living(record))
}

pub(crate) fn gone(record: AbsentRecord) -> (PeerId, PeerChange) {
    (record.peer, PeerChange::Absent(record))
}

/// Everything in a store.
pub(crate) fn load(store: &mut dyn Store) -> Result<(Option<Meta>, Vec<Record>), StoreError> {
    let mut records = Vec::new();
    let meta = store.load(&mut |record| {
        records.push(record);
        Ok(())
    })?;
    Ok((meta, records))
}

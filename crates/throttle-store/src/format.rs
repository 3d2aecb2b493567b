//! The binary form of the records: a byte that tells its version, then the fields in the format of postcard.
//!
//! Bytes of any kind can be decoded: the outcome is a record that the domain allows, or [`Damage`]. A record that
//! gets a new field gets a new version, and the decoder keeps those before. `docs/design/records.md` describes the
//! versions; `tests/data` has a file of each.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, Serializer};
use throttle_core::{
    Count, FencingToken, HeldRecord, Labels, Level, PeerId, PendingRecord, Sequence, Ticket,
};
use throttle_runtime::{AbsentRecord, PeerRecord, SemaphoreRecord, UnixTime};

/// The version with which each record begins.
const V1: u8 = 1;

/// Why bytes are not a record.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Damage(pub(crate) String);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Deserialize, Serialize)]
struct SemaphoreV1 {
    last_token: u64,
    max: u64,
    level: i32,
}

/// Encoding borrows lists (`L`, `H`) from the record; decoding collects them.
#[derive(Deserialize, Serialize)]
#[serde(bound(deserialize = "L: Deserialize<'de>, H: Deserialize<'de>"))]
struct PeerV1<'a, L, H> {
    lease_seconds: u64,
    lease_nanoseconds: u32,
    labels: L,
    sequence: u64,
    held: H,
    #[serde(borrow)]
    pending: Option<PendingV1<'a>>,
}

#[derive(Deserialize, Serialize)]
struct HeldV1<'a> {
    semaphore: &'a str,
    count: u64,
    token: u64,
    since: u64,
}

#[derive(Deserialize, Serialize)]
struct PendingV1<'a> {
    semaphore: &'a str,
    count: u64,
    ticket: u64,
    since: u64,
}

#[derive(Deserialize, Serialize)]
struct AbsentV1 {
    sequence: u64,
    since: u64,
}

/// Writes the record of a semaphore in place of what `bytes` holds. Its name is the key.
pub(crate) fn encode_semaphore(record: &SemaphoreRecord, bytes: &mut Vec<u8>) {
    let SemaphoreRecord { name: _, last_token, max, level } = record;
    let record = SemaphoreV1 { last_token: last_token.get(), max: max.get(), level: level.0 };
    encode(&record, bytes);
}

/// Writes the record of a peer in place of what `bytes` holds. Its id is the key.
pub(crate) fn encode_peer(record: &PeerRecord, bytes: &mut Vec<u8>) {
    let PeerRecord { id: _, expires_in, labels, sequence, held, pending } = record;
    let record = PeerV1 {
        lease_seconds: expires_in.as_secs(),
        lease_nanoseconds: expires_in.subsec_nanos(),
        labels: List(|| labels.iter()),
        sequence: sequence.get(),
        held: List(|| {
            held.iter().map(|lock| HeldV1 {
                semaphore: &lock.semaphore,
                count: lock.count.get(),
                token: lock.token.get(),
                since: lock.since.0,
            })
        }),
        pending: pending.as_ref().map(|lock| PendingV1 {
            semaphore: &lock.semaphore,
            count: lock.count.get(),
            ticket: lock.ticket.get(),
            since: lock.since.0,
        }),
    };
    encode(&record, bytes);
}

/// Writes the record of a peer that is gone in place of what `bytes` holds. Its id is the key.
pub(crate) fn encode_absent(record: &AbsentRecord, bytes: &mut Vec<u8>) {
    let AbsentRecord { peer: _, sequence, since } = record;
    encode(&AbsentV1 { sequence: sequence.get(), since: since.0 }, bytes);
}

pub(crate) fn decode_semaphore(name: Arc<str>, bytes: &[u8]) -> Result<SemaphoreRecord, Damage> {
    let SemaphoreV1 { last_token, max, level } = decode(bytes)?;
    Ok(SemaphoreRecord {
        name,
        last_token: token(last_token)?,
        max: count(max)?,
        level: Level(level),
    })
}

pub(crate) fn decode_peer(id: u64, bytes: &[u8], names: &mut Names) -> Result<PeerRecord, Damage> {
    let record: PeerV1<'_, Vec<(&str, &str)>, Vec<HeldV1<'_>>> = decode(bytes)?;
    let held = record.held.into_iter().map(|lock| {
        Ok(HeldRecord {
            semaphore: names.shared(lock.semaphore),
            count: count(lock.count)?,
            token: token(lock.token)?,
            since: UnixTime(lock.since),
        })
    });
    let held = held.collect::<Result<_, _>>()?;
    let pending = record.pending.map(|lock| {
        Ok(PendingRecord {
            semaphore: names.shared(lock.semaphore),
            count: count(lock.count)?,
            ticket: Ticket::new(lock.ticket),
            since: UnixTime(lock.since),
        })
    });
    let labels = record.labels.into_iter();
    Ok(PeerRecord {
        id: peer(id)?,
        expires_in: lease(record.lease_seconds, record.lease_nanoseconds)?,
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Labels>(),
        sequence: sequence(record.sequence)?,
        held,
        pending: pending.transpose()?,
    })
}

pub(crate) fn decode_absent(id: u64, bytes: &[u8]) -> Result<AbsentRecord, Damage> {
    let record: AbsentV1 = decode(bytes)?;
    Ok(AbsentRecord {
        peer: peer(id)?,
        sequence: sequence(record.sequence)?,
        since: UnixTime(record.since),
    })
}

fn encode(record: &impl Serialize, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.push(V1);
    let taken = std::mem::take(bytes);
    *bytes = postcard::to_extend(record, taken)
        .expect("a vector has room, and lists know their lengths");
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Damage> {
    let (version, fields) = bytes.split_first().ok_or_else(|| Damage("it is empty".to_owned()))?;
    if *version != V1 {
        return Err(Damage(format!(
            "it has version {version}, and this server knows version {V1}"
        )));
    }
    match postcard::take_from_bytes(fields) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(Damage(format!("{} bytes follow it", rest.len()))),
        Err(error) => Err(Damage(format!("its fields cannot be read: {error}"))),
    }
}

/// A list that is serialized from an iterator, without collecting it.
struct List<F>(F);

impl<F: Fn() -> I, I: IntoIterator<Item: Serialize>> Serialize for List<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// The names of the semaphores that were read so far. Each is in memory once, however many locks name it.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<Arc<str>>);

impl Names {
    pub(crate) fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name = Arc::<str>::from(name);
        self.0.insert(Arc::clone(&name));
        name
    }
}

/// A number in the type of the domain.
pub(crate) fn count(number: u64) -> Result<Count, Damage> {
    Count::new(number).ok_or_else(|| Damage(format!("{number} is not a count")))
}

pub(crate) fn token(number: u64) -> Result<FencingToken, Damage> {
    FencingToken::new(number).ok_or_else(|| Damage(format!("{number} is not a fencing token")))
}

pub(crate) fn sequence(number: u64) -> Result<Sequence, Damage> {
    Sequence::new(number).ok_or_else(|| Damage(format!("{number} is not a sequence number")))
}

pub(crate) fn peer(number: u64) -> Result<PeerId, Damage> {
    PeerId::new(number).ok_or_else(|| Damage(format!("{number} is not the id of a peer")))
}

fn lease(seconds: u64, nanoseconds: u32) -> Result<Duration, Damage> {
    if nanoseconds < 1_000_000_000 {
        Ok(Duration::new(seconds, nanoseconds))
    } else {
        Err(Damage(format!("{nanoseconds} nanoseconds are more than a second")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D5
    #[test]
    fn bytes_of_any_kind_are_a_record_or_damaged() {
        let (mut records, mut damaged) = (0, 0);
        arbtest::arbtest(|u| {
            let mut bytes = u.arbitrary::<Vec<u8>>()?;
            if let Some(version) = bytes.first_mut().filter(|_| u.ratio(9, 10).unwrap_or(true)) {
                *version = V1;
            }
            let id = u.arbitrary()?;
            let (mut again, mut names) = (Vec::new(), Names::default());
            let mut count = |is_record| *if is_record { &mut records } else { &mut damaged } += 1;
            // What is a record says the same when it is written and read again.
            let record = decode_semaphore(Arc::from("it"), &bytes);
            count(record.is_ok());
            if let Ok(record) = record {
                encode_semaphore(&record, &mut again);
                assert_eq!(decode_semaphore(Arc::from("it"), &again), Ok(record));
            }
            let record = decode_peer(id, &bytes, &mut names);
            count(record.is_ok());
            if let Ok(record) = record {
                encode_peer(&record, &mut again);
                assert_eq!(decode_peer(id, &again, &mut names), Ok(record));
            }
            let record = decode_absent(id, &bytes);
            count(record.is_ok());
            if let Ok(record) = record {
                encode_absent(&record, &mut again);
                assert_eq!(decode_absent(id, &again), Ok(record));
            }
            Ok(())
        })
        .size_max(200);
        assert!(records > 10 && damaged > 10, "{records} records, {damaged} damaged");
    }

    #[test]
    fn damage_says_what_is_wrong() {
        let absent = |bytes: &[u8]| decode_absent(1, bytes).unwrap_err().to_string();
        assert_eq!(absent(&[]), "it is empty");
        assert_eq!(absent(&[2]), "it has version 2, and this server knows version 1");
        assert_eq!(
            absent(&[1, 5]),
            "its fields cannot be read: Hit the end of buffer, expected more data"
        );
        assert_eq!(absent(&[1, 5, 6, 7, 8]), "2 bytes follow it");
        let zero = decode_absent(0, &[1, 5, 6]).unwrap_err();
        assert_eq!(zero.to_string(), "0 is not the id of a peer");
    }
}

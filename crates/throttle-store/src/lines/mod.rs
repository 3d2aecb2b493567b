//! Records as text: one JSON document in each line. The form of exports and of the state file.
//!
//! The first line is the header. Then come the records: first semaphores, then peers, then absent peers. After them,
//! one line says how many there are of each kind, and the last one has a checksum of all before. An export that
//! somebody has edited has no checksum. `docs/design/records.md` shows an example.

mod read;
mod write;

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use throttle_runtime::{Meta, UnixTime};

pub(crate) use self::{
    read::{LineError, LineReader},
    write::LineWriter,
};
use crate::snapshot::Counts;

/// The newest format that this version reads, and the one that it writes.
const FORMAT: u64 = 1;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line<'a> {
    Header(HeaderLine),
    #[serde(borrow)]
    Semaphore(SemaphoreLine<'a>),
    #[serde(borrow)]
    Peer(PeerLine<'a>),
    Absent(AbsentLine),
    End(EndLine),
    /// The checksum of all bytes before this line.
    Crc32(u32),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    format: u64,
    id: u64,
    made_at_ms: u64,
    token_floor: u64,
    written_at_ms: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SemaphoreLine<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    last_token: u64,
    max: u64,
    level: i32,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PeerLine<'a> {
    id: u64,
    #[serde(with = "duration")]
    expires_in: Duration,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    sequence: u64,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<HeldLine<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pending: Option<PendingLine<'a>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HeldLine<'a> {
    #[serde(borrow)]
    semaphore: Cow<'a, str>,
    count: u64,
    token: u64,
    since_ms: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PendingLine<'a> {
    #[serde(borrow)]
    semaphore: Cow<'a, str>,
    count: u64,
    ticket: u64,
    since_ms: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AbsentLine {
    peer: u64,
    sequence: u64,
    since_ms: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    semaphores: u64,
    peers: u64,
    absent: u64,
    /// The longest lease of the peers.
    #[serde(with = "duration", default)]
    longest_lease: Duration,
}

/// What a header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) meta: Meta,
    pub(crate) written_at: UnixTime,
}

/// What the last line says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct End {
    pub(crate) counts: Counts,
    pub(crate) longest_lease: Duration,
}

impl From<EndLine> for End {
    fn from(line: EndLine) -> Self {
        let EndLine { semaphores, peers, absent, longest_lease } = line;
        Self { counts: Counts { semaphores, peers, absent }, longest_lease }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A duration as people write it, such as `1m 30s`, to the nanosecond.
mod duration {
    use std::{borrow::Cow, time::Duration};

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(D::Error::custom)
    }
}

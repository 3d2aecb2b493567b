//! What requests say, part by part: the types of [`throttle_wire`], read and checked.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use throttle_runtime::{PeerId, Sequence};
use throttle_wire::{Acquire, Code, ExpiresIn, Labels, NewPeer, Remainder, Restore, Sequenced};

use crate::{
    Limits,
    json::{Integer, Members, Value},
    percent,
    refusal::Refusal,
    worker_request::{FromJson, FromPath, FromQuery, Parameters},
    worker_routes::Captures,
};

/// The peer in a path. Zero is a number, but nobody.
impl FromPath<'_> for Option<PeerId> {
    fn from_path(captures: Captures<'_>, _: &Limits) -> Result<Self, Refusal> {
        let id = percent::decode_segment(captures.id)?;
        let number = id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok());
        number.flatten().map(PeerId::new).ok_or_else(|| {
            let detail =
                "The path must have the id of a peer, an integer of 64 bits, behind `/peers/`.";
            Refusal::new(Code::MalformedPath, detail)
        })
    }
}

/// The peer and the semaphore in `/peers/{id}/{semaphore}`.
pub(crate) struct Lock<'a> {
    pub(crate) peer: Option<PeerId>,
    pub(crate) semaphore: Cow<'a, str>,
}

impl<'a> FromPath<'a> for Lock<'a> {
    fn from_path(captures: Captures<'a>, limits: &Limits) -> Result<Self, Refusal> {
        let semaphore = percent::decode_segment(captures.semaphore)?;
        let peer = FromPath::from_path(captures, limits)?;
        limits.check_name(&semaphore)?;
        Ok(Self { peer, semaphore })
    }
}

impl FromQuery for Acquire {
    fn from_query(parameters: &Parameters<'_>, limits: &Limits) -> Result<Self, Refusal> {
        let expires_in = parameters.find("expires_in")?;
        let block_for = parameters.find("block_for")?;
        Ok(Self {
            expires_in: expires_in.map(|text| self::expires_in(text, text, limits)).transpose()?,
            block_for: block_for.map(|text| self::block_for(text, limits)).transpose()?,
            sequence: sequence(parameters)?,
        })
    }
}

impl FromQuery for Sequenced {
    fn from_query(parameters: &Parameters<'_>, _: &Limits) -> Result<Self, Refusal> {
        Ok(Self { sequence: sequence(parameters)? })
    }
}

fn sequence(parameters: &Parameters<'_>) -> Result<Option<u64>, Refusal> {
    parameters.find("sequence")?.map(read_sequence).transpose()
}

fn read_sequence(text: &str) -> Result<u64, Refusal> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
    number.flatten().filter(|&number| number <= Sequence::MAX.get()).ok_or_else(|| {
        let expected = format!("an integer from 0 to {}", Sequence::MAX);
        Refusal::invalid_field("`sequence`", &expected, text)
    })
}

impl FromQuery for Remainder {
    fn from_query(parameters: &Parameters<'_>, limits: &Limits) -> Result<Self, Refusal> {
        let name = parameters.find("semaphore")?;
        let name = name.ok_or_else(|| Refusal::missing_field("semaphore"))?;
        limits.check_name(name)?;
        Ok(Self { semaphore: name.to_owned() })
    }
}

/// The body of a request for a lock: one integer.
pub(crate) struct LockCount(pub(crate) i64);

impl FromJson for LockCount {
    fn from_json(body: &[u8], _: &Limits) -> Result<Self, Refusal> {
        lock_count(Value::parse(body)?, "The lock count, which is all of the body,").map(Self)
    }
}

impl FromJson for NewPeer {
    fn from_json(body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let body = Object::of(body)?;
        Ok(Self { expires_in: body.expires_in(limits)?, labels: body.labels(limits)? })
    }
}

impl FromJson for ExpiresIn {
    fn from_json(body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        Ok(Self { expires_in: Object::of(body)?.expires_in(limits)? })
    }
}

impl FromJson for Restore {
    fn from_json(body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let body = Object::of(body)?;
        Ok(Self {
            expires_in: body.expires_in(limits)?,
            peer_id: body.peer_id()?,
            acquired: body.acquired(limits)?,
            labels: body.labels(limits)?,
            sequence: body.sequence()?,
        })
    }
}

/// A body that is an object.
struct Object<'a>(Members<'a>);

impl<'a> Object<'a> {
    fn of(body: &'a [u8]) -> Result<Self, Refusal> {
        if let Some(members) = Members::parse(body) {
            return Ok(Self(members));
        }
        let other = Value::parse(body)?;
        let expected = "a JSON object with the field `expires_in`";
        Err(Refusal::invalid_field("The body", expected, other.text()))
    }

    fn required(&self, field: &str) -> Result<Value<'a>, Refusal> {
        self.0.find(field)?.ok_or_else(|| Refusal::missing_field(field))
    }

    fn expires_in(&self, limits: &Limits) -> Result<Duration, Refusal> {
        let value = self.required("expires_in")?;
        // What is no string is no duration either.
        expires_in(&value.string().unwrap_or_default(), value.text(), limits)
    }

    fn peer_id(&self) -> Result<u64, Refusal> {
        let value = self.required("peer_id")?;
        let id = value.text().parse().ok().filter(|&id| id != 0);
        id.ok_or_else(|| {
            Refusal::invalid_field("`peer_id`", "a positive integer of 64 bits", value.text())
        })
    }

    fn sequence(&self) -> Result<Option<u64>, Refusal> {
        self.0.find("sequence")?.map(|value| read_sequence(value.text())).transpose()
    }

    fn acquired(&self, limits: &Limits) -> Result<BTreeMap<String, i64>, Refusal> {
        let value = self.required("acquired")?;
        let members = value.members().ok_or_else(|| {
            let expected = "an object of semaphores with their counts";
            Refusal::invalid_field("`acquired`", expected, value.text())
        })?;
        let locks: Vec<_> = members.unique("`acquired`")?;
        let locks = locks.into_iter().map(|(name, count)| {
            limits.check_name(&name)?;
            let count = lock_count(count, &format!("The count of {name:?} in `acquired`"))?;
            Ok((name, count))
        });
        locks.collect()
    }

    fn labels(&self, limits: &Limits) -> Result<Labels, Refusal> {
        let Some(value) = self.0.find("labels")? else { return Ok(Labels::new()) };
        let invalid = |found: Value<'_>| {
            Refusal::invalid_field("`labels`", "an object whose values are strings", found.text())
        };
        let labels: Vec<_> = value.members().ok_or_else(|| invalid(value))?.unique("`labels`")?;
        let labels = labels.into_iter().map(|(name, value)| {
            Ok((name, value.string().ok_or_else(|| invalid(value))?.into_owned()))
        });
        let labels = labels.collect::<Result<_, Refusal>>()?;
        limits.check_labels(&labels)?;
        Ok(labels)
    }
}

fn expires_in(text: &str, sent: &str, limits: &Limits) -> Result<Duration, Refusal> {
    let expires_in = duration("`expires_in`", text, sent)?;
    limits.check_expires_in(expires_in)?;
    Ok(expires_in)
}

fn block_for(text: &str, limits: &Limits) -> Result<Duration, Refusal> {
    let block_for = duration("`block_for`", text, text)?;
    limits.check_block_for(block_for)?;
    Ok(block_for)
}

/// Reads a duration; one beyond all others is the longest there is. `sent` is what the client would
/// recognise as what it sent.
fn duration(what: &str, text: &str, sent: &str) -> Result<Duration, Refusal> {
    match humantime::parse_duration(text) {
        Ok(duration) => Ok(duration),
        Err(humantime::DurationError::NumberOverflow) => Ok(Duration::MAX),
        Err(_) => {
            let expected = "a duration such as \"5m\", \"1h 30m\" or \"100ms\"";
            Err(Refusal::invalid_field(what, expected, sent))
        }
    }
}

fn lock_count(value: Value<'_>, what: &str) -> Result<i64, Refusal> {
    match value.integer() {
        Some(Integer::Fits(count)) => Ok(count),
        // So large that it is refused in its turn: a mistake in the semaphore is told first.
        Some(Integer::TooLarge) => Ok(i64::MAX),
        None => Err(Refusal::invalid_field(what, "an integer of 64 bits", value.text())),
    }
}

//! Fields of requests that accept less than their type does.
//!
//! Each visitor has the words for what its field must be. A server refuses other values with them.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor},
};

use crate::{Labels, PeerId};

/// The greatest sequence number. Every JSON parser reads it exactly: it fits in a float of 64 bits.
pub const MAX_SEQUENCE: u64 = (1 << 53) - 1;

pub(crate) fn peer_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PeerId, D::Error> {
    struct Positive;

    impl Visitor<'_> for Positive {
        type Value = PeerId;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a positive integer of 64 bits")
        }

        fn visit_u64<E: Error>(self, id: u64) -> Result<PeerId, E> {
            if id == 0 { Err(E::invalid_value(Unexpected::Unsigned(id), &self)) } else { Ok(id) }
        }
    }

    deserializer.deserialize_u64(Positive)
}

pub(crate) fn sequence<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    struct InRange;

    impl Visitor<'_> for InRange {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an integer from 0 to {MAX_SEQUENCE}")
        }

        fn visit_u64<E: Error>(self, sequence: u64) -> Result<u64, E> {
            if sequence <= MAX_SEQUENCE {
                Ok(sequence)
            } else {
                Err(E::invalid_value(Unexpected::Unsigned(sequence), &self))
            }
        }
    }

    struct Sequence(u64);

    impl<'de> Deserialize<'de> for Sequence {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_u64(InRange).map(Self)
        }
    }

    let sequence = Option::<Sequence>::deserialize(deserializer)?;
    Ok(sequence.map(|Sequence(sequence)| sequence))
}

pub(crate) fn acquired<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, i64>, D::Error> {
    deserializer.deserialize_map(Object::new("an object of semaphores with their counts"))
}

pub(crate) fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    deserializer.deserialize_map(Object::new("an object whose values are strings"))
}

/// Accepts an object, which is `expected`.
struct Object<T> {
    expected: &'static str,
    values: PhantomData<T>,
}

impl<T> Object<T> {
    fn new(expected: &'static str) -> Self {
        Self { expected, values: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            members.insert(name, value);
        }
        Ok(members)
    }
}

//! `[semaphores]`: the semaphores that can be locked.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use toml::{Spanned, de::DeValue};

use super::{
    reader::{Read, Reader},
    value::{Level, Max},
};

section! {
    /// The semaphores that clients can lock, by name. The number, or `max`, is the sum of the counts that
    /// can be held at a time, from 1 to 9007199254740991; with 1 the semaphore is a mutex. `level`, 0
    /// unless given, is its level in the lock hierarchy, from -2147483648 to 2147483647: a peer that holds
    /// a lock may only ask for semaphores of lower levels, so that peers never wait for each other in a
    /// circle. A name is any text except the empty one, "." and ".."; quote it unless it consists of
    /// letters, digits, hyphens and underscores.
    ///
    /// Changes take effect on reload. A larger maximum grants locks to peers in the queue. A smaller one
    /// grants none until enough was released. A semaphore that is removed while it is in use stays with its
    /// holders until the last lock is released; nobody is granted it any more. A new level takes effect when
    /// the semaphore is unused.
    pub(crate) struct Semaphores(BTreeMap<Spanned<String>, Option<Semaphore>>) {
        A = "42";
        B = "{ max = 1, level = 1 }";
    }
}

/// One semaphore. Written as a number it is only the maximum.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Semaphore {
    pub(crate) max: Max,
    pub(crate) level: Level,
}

impl Read for Semaphore {
    fn read(value: Spanned<DeValue<'_>>, reader: &mut Reader) -> Option<Self> {
        if !value.get_ref().is_table() {
            let Number(max) = reader.option(value)?;
            return Some(Self { max, level: Level::default() });
        }
        let span = value.span();
        let (mut max, mut level, mut has_max) = (None, None, false);
        for (key, value) in reader.table(value)? {
            match key.get_ref().as_ref() {
                "max" => {
                    has_max = true;
                    max = reader.within("max", |reader| reader.option(value));
                }
                "level" => level = reader.within("level", |reader| reader.option(value)),
                _ => reader.unknown(&key, &["max", "level"]),
            }
        }
        if !has_max {
            reader.refuse(span, "missing field `max`");
        }
        Some(Self { max: max?, level: level.unwrap_or_default() })
    }
}

/// A semaphore that is written as a number.
struct Number(Max);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrTable).map(Self)
    }
}

/// Accepts a number; its error also mentions the table.
struct NumberOrTable;

impl Visitor<'_> for NumberOrTable {
    type Value = Max;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a maximum such as 42, or a table such as { max = 1, level = 1 }")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Max, E> {
        Ok(Max::from_number(Max::expected().visit_i64(number)?))
    }
}

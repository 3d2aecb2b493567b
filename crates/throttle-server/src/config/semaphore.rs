//! `[semaphores]`: what can be locked.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::value::{Level, Max};

section! {
    /// The semaphores that clients can lock, by name. The number, or `max`, is how much can be held at
    /// a time, from 1 to 9007199254740991; with 1 the semaphore is a mutex. `level`, 0 unless given,
    /// is the place in the lock hierarchy, from -2147483648 to 2147483647: who holds a lock may only
    /// ask for semaphores of lower levels, so that peers never wait for each other in a circle. A name
    /// is any text; quote it unless it consists of letters, digits, hyphens and underscores.
    ///
    /// Changes take effect on reload: a new semaphore is there, a larger maximum serves those who
    /// wait, a smaller one lets nobody in until enough was given back. A semaphore that is held or
    /// awaited can neither be removed nor change its level.
    pub(crate) struct Semaphores(BTreeMap<Spanned<String>, Semaphore>) {
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

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrTable)
    }
}

struct NumberOrTable;

impl<'de> Visitor<'de> for NumberOrTable {
    type Value = Semaphore;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a maximum such as 42, or a table such as { max = 1, level = 1 }")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Semaphore, E> {
        let max = Max::from_number(Max::expected().visit_i64(number)?);
        let level = Level::default();
        Ok(Semaphore { max, level })
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Semaphore, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            max: Max,
            #[serde(default)]
            level: Level,
        }
        let Table { max, level } = Table::deserialize(MapAccessDeserializer::new(table))?;
        Ok(Semaphore { max, level })
    }
}

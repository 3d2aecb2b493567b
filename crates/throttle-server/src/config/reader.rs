//! Reads a document as far as it makes sense, so that all of its mistakes are found at once.
//!
//! serde stops at the first error of a value. So each section reads its entries one by one: what is
//! wrong with one is noted by the [`Reader`], its default takes its place, and the others are read.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{
    Deserializer as _,
    de::{DeserializeOwned, Error as _, IgnoredAny, Visitor},
};
use toml::{
    Spanned, de,
    de::{DeString, DeTable, DeValue, ValueDeserializer},
};

use super::error::{Fault, written};

/// Something that can be read from a value of a document.
pub(crate) trait Read: Sized {
    /// Reads it. `None` if the value is something else, which the reader has noted then.
    fn read(value: Spanned<DeValue<'_>>, reader: &mut Reader) -> Option<Self>;
}

/// Where in the document reading is, and what was wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    path: Vec<String>,
    faults: Vec<Fault>,
}

impl Reader {
    /// Everything that was wrong.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// Reads what belongs to this key.
    pub(crate) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(written(key));
        let outcome = read(self);
        self.path.pop();
        outcome
    }

    /// Notes that something is wrong with what belongs to the current key.
    pub(crate) fn refuse(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.faults.push(Fault::new(span, message).with_key(self.path.join(".")));
    }

    /// Notes that nobody knows this key of a table.
    pub(crate) fn unknown(&mut self, key: &Spanned<DeString<'_>>, known: &'static [&'static str]) {
        let error = de::Error::unknown_field(key.get_ref(), known);
        self.within(key.get_ref(), |reader| reader.refuse(key.span(), error.message()));
    }

    /// The value of an option, if it can be one.
    pub(crate) fn option<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<T> {
        let span = value.span();
        T::deserialize(ValueDeserializer::from(value)).map_err(|error| self.note(span, &error)).ok()
    }

    /// The entries of a table, if it is one.
    pub(crate) fn table<'i>(&mut self, value: Spanned<DeValue<'i>>) -> Option<DeTable<'i>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(table),
            other => {
                let other = ValueDeserializer::from(Spanned::new(span.clone(), other));
                let error = other.deserialize_any(Table).expect_err("a table is no other value");
                self.note(span, &error);
                None
            }
        }
    }

    fn note(&mut self, span: Range<usize>, error: &de::Error) {
        self.refuse(error.span().unwrap_or(span), error.message());
    }
}

/// A part that is there only if its header is.
impl<T: Read> Read for Option<T> {
    fn read(value: Spanned<DeValue<'_>>, reader: &mut Reader) -> Option<Self> {
        T::read(value, reader).map(Some)
    }
}

/// Entries that users name. The names of those that cannot be read are there, too, to be checked.
impl<T: Read> Read for BTreeMap<Spanned<String>, Option<T>> {
    fn read(value: Spanned<DeValue<'_>>, reader: &mut Reader) -> Option<Self> {
        let entries = reader.table(value)?.into_iter().map(|(key, value)| {
            let entry = reader.within(key.get_ref(), |reader| T::read(value, reader));
            (Spanned::new(key.span(), key.into_inner().into_owned()), entry)
        });
        Some(entries.collect())
    }
}

/// Refuses whatever is no table.
struct Table;

impl Visitor<'_> for Table {
    type Value = IgnoredAny;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }
}

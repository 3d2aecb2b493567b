//! Reads a document in spite of mistakes, so that all of them are found at once.
//!
//! serde stops at the first error. So each section reads its entries one by one: if one is wrong, the [`Reader`]
//! records the fault, the default takes its place, and reading continues.

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
    /// Reads the value. `None` if it is of another kind; then the reader has recorded a fault.
    fn read(value: Spanned<DeValue<'_>>, reader: &mut Reader) -> Option<Self>;
}

/// The current place in the document, and the faults so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    path: Vec<String>,
    faults: Vec<Fault>,
}

impl Reader {
    /// All faults.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// Reads the value of this key.
    pub(crate) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(written(key));
        let outcome = read(self);
        self.path.pop();
        outcome
    }

    /// Records a fault in the value of the current key.
    pub(crate) fn refuse(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.faults.push(Fault::new(span, message).with_key(self.path.join(".")));
    }

    /// Records an unknown key of a table.
    pub(crate) fn unknown(&mut self, key: &Spanned<DeString<'_>>, known: &'static [&'static str]) {
        let error = de::Error::unknown_field(key.get_ref(), known);
        self.within(key.get_ref(), |reader| reader.refuse(key.span(), error.message()));
    }

    /// The value of an option, if it is valid.
    pub(crate) fn option<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<T> {
        let span = value.span();
        T::deserialize(ValueDeserializer::from(value))
            .map_err(|error| self.record(span, &error))
            .ok()
    }

    /// The entries of a table, if it is one.
    pub(crate) fn table<'i>(&mut self, value: Spanned<DeValue<'i>>) -> Option<DeTable<'i>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(table),
            other => {
                let other = ValueDeserializer::from(Spanned::new(span.clone(), other));
                let error = other.deserialize_any(Table).expect_err("tables are read above");
                self.record(span, &error);
                None
            }
        }
    }

    fn record(&mut self, span: Range<usize>, error: &de::Error) {
        self.refuse(error.span().unwrap_or(span), error.message());
    }
}

/// A section that is present only if its header is.
impl<T: Read> Read for Option<T> {
    fn read(value: Spanned<DeValue<'_>>, reader: &mut Reader) -> Option<Self> {
        T::read(value, reader).map(Some)
    }
}

/// Entries that users name. An invalid entry is `None`, so that its name is still checked.
impl<T: Read> Read for BTreeMap<Spanned<String>, Option<T>> {
    fn read(value: Spanned<DeValue<'_>>, reader: &mut Reader) -> Option<Self> {
        let entries = reader.table(value)?.into_iter().map(|(key, value)| {
            let entry = reader.within(key.get_ref(), |reader| T::read(value, reader));
            (Spanned::new(key.span(), key.into_inner().into_owned()), entry)
        });
        Some(entries.collect())
    }
}

/// Refuses every value that is not a table.
struct Table;

impl Visitor<'_> for Table {
    type Value = IgnoredAny;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }
}

//! Names of files as values of options, with their places in the configuration.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, Unexpected},
};
use toml::Spanned;

/// The name of a file. A relative one starts at the working directory of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileName(String);

/// The name of a file, or the empty text for none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OptionalFile(Spanned<String>);

impl FileName {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name as a path.
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl OptionalFile {
    /// No file.
    pub(crate) fn none() -> Self {
        Self(Spanned::new(0..0, String::new()))
    }

    /// The name, if there is one.
    pub fn path(&self) -> Option<&Path> {
        let name = self.0.get_ref();
        (!name.is_empty()).then(|| Path::new(name))
    }

    /// Its place in the configuration.
    pub(crate) fn span(&self) -> Range<usize> {
        self.0.span()
    }
}

impl From<FileName> for PathBuf {
    fn from(name: FileName) -> Self {
        name.0.into()
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name.is_empty() {
            return Err(D::Error::invalid_value(Unexpected::Str(&name), &"the name of a file"));
        }
        Ok(Self(name))
    }
}

impl Serialize for FileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for OptionalFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl Serialize for OptionalFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.get_ref())
    }
}

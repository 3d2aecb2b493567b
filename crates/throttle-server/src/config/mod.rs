//! The configuration: from a file to something that can be served, or to an error that says where.
//!
//! A file is read into a `Document`, whose values check themselves one by one (`value`). What
//! concerns several of them is checked when the document becomes a [`Config`]; nothing behind that
//! meets a value it would have to doubt. Errors name file, line, column and key (`error`). The
//! sample file is written from the doc comments of these very types (`document`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use throttle_runtime::{SemaphoreConfig, Settings};

#[macro_use]
mod document;
mod error;
mod limits;
mod logging;
mod semaphore;
mod value;

pub use self::{
    error::ConfigError,
    limits::Limits,
    logging::{Format, Gelf, Level, Logging, Protocol, Stderr},
    value::{Auto, Number, Period},
};
use self::{
    error::Fault,
    semaphore::{Semaphore, Semaphores},
    value::Span,
};

/// The file that is read from the working directory if no other one is named.
pub const DEFAULT_FILE: &str = "throttle.toml";

/// A configuration and where it comes from.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it says.
    pub config: Config,
    /// The file to read, now and when reloading.
    pub file: PathBuf,
    /// Whether there is such a file. If not, the configuration is the default.
    pub exists: bool,
}

/// Reads the file that is named, which must be there; or else [`DEFAULT_FILE`], which need not.
///
/// # Errors
///
/// As [`Config::read`].
pub fn find(named: Option<PathBuf>) -> Result<Found, ConfigError> {
    let may_be_missing = named.is_none();
    let file = named.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let (config, exists) = match Config::read(&file) {
        Err(error) if may_be_missing && error.is_missing() => (Config::default(), false),
        read => (read?, true),
    };
    Ok(Found { config, file, exists })
}

/// What a server is told to do. It can be done as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What can be locked, by name.
    pub semaphores: BTreeMap<String, SemaphoreConfig>,
    /// How long a waiter whose connection broke keeps its place.
    pub abandoned_after: Duration,
    /// How much of everything there may be.
    pub limits: Limits,
    /// What is logged, and where to.
    pub logging: Logging,
}

section! {
    /// Configuration of a Throttle server. Each option is shown with its default.
    ///
    /// Whole numbers may have separators (2_000_000). Durations are text with units: "30s",
    /// "1min 30s", "12h", "30days". Unknown keys are errors.
    ///
    /// On SIGHUP and on POST /admin/reload the server reads this file again. Only what says so takes
    /// effect then; everything else takes a restart.
    struct Document {
        options {
            /// Older servers looked for dead peers at this interval. This one acts at the very moment
            /// at which a lease ends, so the value is accepted and has no effect.
            litter_collection_interval: Span = Span::from_secs(5 * 60),
            /// How long a waiter whose connection broke keeps its place in the queue. It is granted
            /// nothing and holds nobody up until it asks again; if it does not, its pending lock is
            /// cancelled. Longer forgives longer interruptions of the network. Takes effect on
            /// reload.
            abandoned_after: Span = Span::from_secs(10),
        }
        tables {
            semaphores: Semaphores,
            limits: Limits,
            logging: Logging,
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or if it is not a configuration.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let bytes = fs::read(file)
            .map_err(|error| ConfigError::Unreadable { file: file.to_owned(), error })?;
        match str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, file),
            Err(error) => {
                let place = error.valid_up_to();
                let fault = Fault::new(place..place, "the file is not UTF-8 from here on");
                Err(fault.locate(&String::from_utf8_lossy(&bytes), file))
            }
        }
    }

    /// Reads and checks the text of a file; its name is for errors.
    ///
    /// # Errors
    ///
    /// If it is not a configuration.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let document = toml::from_str::<Document>(text).map_err(Fault::from);
        let config = document.and_then(Self::try_from);
        config.map_err(|fault| fault.locate(text, file))
    }

    /// The text of the documented sample file.
    pub fn sample() -> String {
        document::sample::<Document>()
    }

    /// What the runtime needs to know besides the semaphores.
    pub fn settings(&self) -> Settings {
        Settings {
            abandoned_after: self.abandoned_after,
            max_peers: self.limits.peers.get(),
            max_waiters: self.limits.waiters.get(),
        }
    }

    /// The keys of the options that are others in `new` and that a running server does not change.
    pub fn keys_that_take_a_restart(&self, new: &Self) -> Vec<String> {
        let (old, new) = (self.fixed_options(), new.fixed_options());
        let keys = old.keys().chain(new.keys()).collect::<BTreeSet<_>>();
        let differ = keys.into_iter().filter(|&key| old.get(key) != new.get(key));
        differ.cloned().collect()
    }

    /// What a running server does not change, by key.
    fn fixed_options(&self) -> BTreeMap<String, toml::Value> {
        let mut options = BTreeMap::new();
        flatten("limits", &self.limits, &mut options);
        flatten("logging", &self.logging, &mut options);
        options.retain(|key, _| !LIVE.contains(&key.as_str()));
        options
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::try_from(Document::default()).expect("the defaults are in order")
    }
}

impl TryFrom<Document> for Config {
    type Error = Fault;

    fn try_from(document: Document) -> Result<Self, Fault> {
        let name_length = document.limits.name_length.get();
        let semaphores = document.semaphores.0.into_iter().map(|(name, semaphore)| {
            if name.get_ref().is_empty() {
                return Err(Fault::new(name.span(), "a semaphore needs a name"));
            }
            if name.get_ref().len() > name_length as usize {
                let message = format!(
                    "the name has {} bytes, more than the {name_length} of limits.name_length",
                    name.get_ref().len(),
                );
                return Err(Fault::new(name.span(), message));
            }
            let Semaphore { max, level } = semaphore;
            let config = SemaphoreConfig { max: max.0, level: level.0 };
            Ok((name.into_inner(), config))
        });
        Ok(Self {
            semaphores: semaphores.collect::<Result<_, _>>()?,
            abandoned_after: document.abandoned_after.get(),
            limits: document.limits,
            logging: document.logging,
        })
    }
}

/// The options of the tables below that take effect on reload.
const LIVE: &[&str] = &["limits.peers", "limits.waiters"];

/// The options of a section, and of those inside of it, by key.
fn flatten(path: &str, section: &impl Serialize, options: &mut BTreeMap<String, toml::Value>) {
    match toml::Value::try_from(section).expect("options are plain values") {
        toml::Value::Table(table) => {
            for (key, value) in table {
                flatten(&format!("{path}.{key}"), &value, options);
            }
        }
        value => {
            options.insert(path.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests;

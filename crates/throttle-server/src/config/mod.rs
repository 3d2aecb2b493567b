//! The configuration: from a file to something that can be served, or to an error that says where.
//!
//! A file is read into a `Document`, whose values check themselves one by one (`value`) and all of
//! whose mistakes are collected (`read`). What concerns several of them is checked when the document
//! becomes a [`Config`]; nothing behind that meets a value it would have to doubt. Errors name file,
//! line, column and key (`error`). The
//! sample file is written from the doc comments of these very types (`document`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use throttle_runtime::{SemaphoreConfig, Settings};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

#[macro_use]
mod sample;
mod error;
mod limits;
mod log_filter;
mod logging;
mod memory;
mod metrics;
mod reader;
mod semaphore;
mod value;

use self::{
    error::Fault,
    reader::{Read as _, Reader},
    semaphore::{Semaphore, Semaphores},
    value::Span,
};
pub use self::{
    error::{ConfigError, Mistakes},
    limits::Limits,
    log_filter::{Filter, Level},
    logging::{Format, Gelf, Logging, Protocol, Stderr},
    memory::Memory,
    metrics::{Histograms, Metrics},
    value::{Auto, Number, Period},
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
    /// Whether it says that there are to be no semaphores. Only then a reload removes all of them.
    pub no_semaphores: bool,
    /// How long a waiter whose connection broke keeps its place.
    pub abandoned_after: Duration,
    /// How much of everything there may be.
    pub limits: Limits,
    /// What is logged, and where to.
    pub logging: Logging,
    /// What is counted.
    pub metrics: Metrics,
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
            /// Says that the file has no semaphores on purpose. Without it a reload that would remove
            /// every semaphore is refused, because an empty or half-written file looks the same.
            /// `true` beside a semaphore is an error. Takes effect on reload.
            no_semaphores: bool = false,
        }
        tables {
            semaphores: Semaphores,
            limits: Limits,
            logging: Logging,
            metrics: Metrics,
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, if it changes while it is read, or if it is not a configuration.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let bytes = read_unchanged(file)
            .map_err(|error| ConfigError::Unreadable { file: file.to_owned(), error })?;
        match str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, file),
            Err(error) => {
                let place = error.valid_up_to();
                let fault = Fault::new(place..place, "the file is not UTF-8 from here on");
                let text = String::from_utf8_lossy(&bytes);
                Err(ConfigError::Invalid(Mistakes::locate(vec![fault], &text, file)))
            }
        }
    }

    /// Reads and checks the text of a file; its name is for errors.
    ///
    /// # Errors
    ///
    /// If it is not a configuration; the error tells all that is wrong with it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let (table, syntax) = DeTable::parse_recoverable(text);
        let whole = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        let mut reader = Reader::default();
        let document = Document::read(whole, &mut reader).unwrap_or_default();
        let config = Self::from_document(document, &mut reader);
        let faults = error::merge(syntax, reader.into_faults(), text);
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Invalid(Mistakes::locate(faults, text, file)))
        }
    }

    /// Checks what concerns several values.
    fn from_document(document: Document, reader: &mut Reader) -> Self {
        let Document { semaphores: Semaphores(semaphores), limits, logging, metrics, .. } =
            document;
        let longest = limits.name_length.get();
        reader.within("semaphores", |reader| {
            for name in semaphores.keys() {
                let objection = objection(name.get_ref(), longest).or_else(|| {
                    let says_none = "a semaphore, although the file says no_semaphores = true";
                    document.no_semaphores.then(|| says_none.to_owned())
                });
                if let Some(objection) = objection {
                    reader.within(name.get_ref(), |reader| reader.refuse(name.span(), objection));
                }
            }
        });
        let semaphores = semaphores.into_iter().filter_map(|(name, semaphore)| {
            let Semaphore { max, level } = semaphore?;
            Some((name.into_inner(), SemaphoreConfig { max: max.0, level: level.0 }))
        });
        Self {
            semaphores: semaphores.collect(),
            no_semaphores: document.no_semaphores,
            abandoned_after: document.abandoned_after.get(),
            limits,
            logging,
            metrics,
        }
    }

    /// The text of the documented sample file.
    pub fn sample() -> String {
        sample::sample::<Document>()
    }

    /// What the runtime needs to know besides the semaphores.
    pub fn settings(&self) -> Settings {
        Settings {
            abandoned_after: self.abandoned_after,
            max_label_bytes: self.limits.label_bytes.get().into(),
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
        flatten("metrics", &self.metrics, &mut options);
        options.retain(|key, _| !LIVE.contains(&key.as_str()));
        options
    }
}

impl Default for Config {
    fn default() -> Self {
        let mut reader = Reader::default();
        let config = Self::from_document(Document::default(), &mut reader);
        assert!(reader.into_faults().is_empty(), "the defaults are in order");
        config
    }
}

/// Why no semaphore can have this name, if none can.
fn objection(name: &str, longest: u32) -> Option<String> {
    match name {
        "" => Some("a semaphore needs a name".to_owned()),
        "." | ".." => Some(format!(
            "no client can ask for the name {name:?}: in a URL it means a directory, however it is \
            encoded"
        )),
        _ if name.len() > longest as usize => Some(format!(
            "the name has {} bytes, more than the {longest} of limits.name_length",
            name.len(),
        )),
        _ => None,
    }
}

/// Reads a file from its beginning to its end, of one file even if its name changes hands meanwhile.
///
/// # Errors
///
/// If somebody writes the file at the same time, for then nobody knows what the bytes are.
fn read_unchanged(name: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(name)?;
    let before = file.metadata()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if has_changed(&before, &file.metadata()?, bytes.len()) {
        return Err(io::Error::other("the file was written to while it was read"));
    }
    Ok(bytes)
}

/// Whether a file of which so many bytes were read was written to meanwhile. Pipes and devices have
/// no length and no history.
fn has_changed(before: &Metadata, after: &Metadata, read: usize) -> bool {
    let is_same = |file: &Metadata| file.len() == read as u64;
    let times = (before.modified().ok(), after.modified().ok());
    before.is_file() && !(is_same(before) && is_same(after) && times.0 == times.1)
}

/// The options of the tables below that take effect on reload.
const LIVE: &[&str] =
    &["limits.label_bytes", "limits.open_waits", "limits.peers", "limits.waiters"];

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

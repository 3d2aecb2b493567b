//! The configuration: from a file to a [`Config`], or to an error that names the place.
//!
//! A file is read into a `Document`, section by section (`section`). Each value is checked by its type (`value`), and
//! all mistakes are collected (`reader`). Checks of several values follow when the document becomes a [`Config`], so
//! that no later code has to check a value again. Errors name file, line, column and key (`error`). The sample file
//! is generated from the doc comments of these types (`sample`).

use std::{
    collections::BTreeMap,
    fs::{File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use throttle_runtime::{SemaphoreConfig, Settings};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

#[macro_use]
mod section;
mod error;
mod file;
mod limits;
mod log_filter;
mod logging;
mod memory;
mod metrics;
mod persistence;
mod reader;
mod restart_keys;
mod sample;
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
    file::{FileName, OptionalFile},
    limits::Limits,
    log_filter::{Filter, Level},
    logging::{Format, Gelf, Logging, Protocol, Stderr},
    memory::Memory,
    metrics::{Histograms, Metrics},
    persistence::{Persistence, Restart, Store},
    value::{Auto, Number, Period},
};

/// The file that is read from the working directory if no other is given.
pub const DEFAULT_FILE: &str = "throttle.toml";

/// A configuration and where it comes from.
#[derive(Clone, Debug)]
pub struct Found {
    /// The content of the file, or the default.
    pub config: Config,
    /// The file that is read now and on every reload.
    pub file: PathBuf,
    /// Whether the file exists. If not, the configuration is the default.
    pub exists: bool,
}

/// Reads the given file, which must exist; or [`DEFAULT_FILE`], which need not.
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

/// A valid configuration of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The semaphores, by name.
    pub semaphores: BTreeMap<String, SemaphoreConfig>,
    /// Whether having no semaphores is intended. Only then may a reload remove all of them.
    pub no_semaphores: bool,
    /// How long a waiter whose connection broke keeps its place in the queue.
    pub abandoned_after: Duration,
    /// The durable store, if there is one. Then [`Restart::state_file`] is none.
    pub store: Option<Store>,
    /// What protects locks over a restart without a store.
    pub restart: Restart,
    /// How much there may be of everything.
    pub limits: Limits,
    /// Which messages are logged, and where.
    pub logging: Logging,
    /// What the metrics contain.
    pub metrics: Metrics,
}

section! {
    /// Configuration of a Throttle server. Each option is shown with its default.
    ///
    /// Whole numbers may have separators (2_000_000). Durations are text with units: "30s",
    /// "1min 30s", "12h", "30days". Unknown keys are errors.
    ///
    /// On SIGHUP and on POST /admin/reload the server reads this file again. An option takes effect then if
    /// its description says so; all others take a restart.
    struct Document {
        options {
            /// Accepted without effect. Older servers looked for expired peers at this interval; this one
            /// acts at the moment when a lease ends.
            litter_collection_interval: Span = Span::from_secs(5 * 60),
            /// How long a waiter whose connection broke keeps its place in the queue. Until it asks again,
            /// it is granted nothing and others are served before it; after this time its pending lock is
            /// cancelled. A longer time tolerates longer interruptions of the network. Takes effect on
            /// reload.
            abandoned_after: Span = Span::from_secs(10),
            /// Whether the file has no semaphores on purpose. Unless it is `true`, a reload that would remove
            /// all semaphores is refused, because an empty or half-written file looks the same. `true`
            /// together with a semaphore is an error. Takes effect on reload.
            no_semaphores: bool = false,
        }
        tables {
            semaphores: Semaphores,
            store: Option<Store>,
            restart: Restart,
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
    /// If the file cannot be read, if it changes while it is read, or if it is not a valid configuration.
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

    /// Reads and checks the text of a file, whose name is for errors.
    ///
    /// # Errors
    ///
    /// If it is not a valid configuration; the error names all mistakes.
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

    /// Makes the checks that concern several values.
    fn from_document(document: Document, reader: &mut Reader) -> Self {
        let Document { store, restart, limits, logging, metrics, .. } = document;
        let Semaphores(semaphores) = document.semaphores;
        persistence::check(store.as_ref(), &restart, reader);
        let longest = limits.name_length.get();
        reader.within("semaphores", |reader| {
            for name in semaphores.keys() {
                let objection = objection(name.get_ref(), longest).or_else(|| {
                    let contradiction = "a semaphore, although the file says no_semaphores = true";
                    document.no_semaphores.then(|| contradiction.to_owned())
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
            store,
            restart,
            limits,
            logging,
            metrics,
        }
    }

    /// The text of the documented sample file.
    pub fn sample() -> String {
        sample::sample::<Document>()
    }

    /// What keeps the state when the process ends.
    pub fn persistence(&self) -> Persistence<'_> {
        Persistence::new(self.store.as_ref(), &self.restart)
    }

    /// The settings of the runtime.
    pub fn settings(&self) -> Settings {
        Settings {
            abandoned_after: self.abandoned_after,
            max_label_bytes: self.limits.label_bytes.get().into(),
            max_peers: self.limits.peers.get(),
            max_waiters: self.limits.waiters.get(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let mut reader = Reader::default();
        let config = Self::from_document(Document::default(), &mut reader);
        assert!(reader.into_faults().is_empty(), "the defaults are valid");
        config
    }
}

/// Why a semaphore cannot have this name, if it cannot.
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

/// Reads a whole file: the one that was opened, even if another one takes its name meanwhile.
///
/// # Errors
///
/// If the file is written to at the same time, because the bytes may then be of two versions.
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

/// Whether a file was written to while so many bytes of it were read. Pipes and devices have neither length nor
/// time of modification.
fn has_changed(before: &Metadata, after: &Metadata, read: usize) -> bool {
    let is_same = |file: &Metadata| file.len() == read as u64;
    let times = (before.modified().ok(), after.modified().ok());
    before.is_file() && !(is_same(before) && is_same(after) && times.0 == times.1)
}

#[cfg(test)]
mod tests;

//! `[logging]`: what is logged, and where to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;

use super::value::Number;

section! {
    /// Logs go to the standard error stream and, if there is a section for it, to a Graylog server
    /// at the same time.
    #[derive(Serialize)]
    pub struct Logging {
        options {}
        tables {
            stderr: Stderr,
            gelf: Option<Gelf>,
        }
    }
}

section! {
    /// Logging to the standard error stream.
    #[derive(Serialize)]
    pub struct Stderr {
        options {
            /// The least severe messages to log: ERROR, WARN, INFO, DEBUG, TRACE, or OFF for none.
            /// The environment variable THROTTLE_LOG has precedence.
            level: Level = Level::Warn,
            /// "human" for lines that people read, "json" for one JSON object in each line.
            format: Format = Format::Human,
        }
        tables {}
    }
}

section! {
    /// Logging to Graylog, or to whatever else understands GELF 1.1. Without this section there is
    /// none. A server that does not listen, or not fast enough, costs messages, never time.
    #[derive(Serialize)]
    pub struct Gelf {
        options {
            /// Comes with each message as the field `_logger`, to tell several Throttles apart.
            name: String = "throttle".to_owned(),
            /// The name or address of the Graylog server.
            host: String = "localhost".to_owned(),
            /// The port of its GELF input.
            port: Number<1, 65_535> = Number::new(12_201),
            /// The least severe messages to send, as for stderr.
            level: Level = Level::Info,
            /// "udp", or "tcp" for an input that is to get every message as long as it listens.
            protocol: Protocol = Protocol::Udp,
        }
        tables {}
    }
}

/// How severe a message must be to be logged.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Level {
    /// Nothing is logged.
    Off,
    /// Something broke.
    Error,
    /// Somebody should know.
    Warn,
    /// The server starts, stops, or changes.
    Info,
    /// Each request.
    Debug,
    /// Everything.
    Trace,
}

/// How messages look on the standard error stream.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A line to read.
    Human,
    /// A JSON object in a line.
    Json,
}

/// How messages travel to Graylog.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Datagrams, chunked where needed.
    Udp,
    /// One connection, made again when it breaks.
    Tcp,
}

impl Level {
    const NAMES: [(&str, Self); 6] = [
        ("ERROR", Self::Error),
        ("WARN", Self::Warn),
        ("INFO", Self::Info),
        ("DEBUG", Self::Debug),
        ("TRACE", Self::Trace),
        ("OFF", Self::Off),
    ];
}

impl FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|&(_, level)| level).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name).join(", ");
            format!("unknown level {name:?}, expected one of {names}")
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::NAMES.iter().find(|(_, level)| level == self);
        f.write_str(found.expect("every level has a name").0)
    }
}

impl From<Level> for String {
    fn from(level: Level) -> Self {
        level.to_string()
    }
}

impl TryFrom<String> for Level {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

//! `[logging]`: which messages are logged, and where.

use serde::{Deserialize, Serialize};

use super::{
    log_filter::{Filter, Level},
    value::Number,
};

section! {
    /// Messages go to the standard error stream and, with a section logging.gelf, also to Graylog.
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
            /// The least severe messages to log: ERROR, WARN, INFO, DEBUG, TRACE, or OFF for none. Parts
            /// of the program can have levels of their own: "INFO,throttle_server=DEBUG,hyper=OFF".
            /// The environment variable THROTTLE_LOG has precedence.
            level: Filter = Level::Warn.into(),
            /// "human" for lines to read, "json" for one JSON object in each line.
            format: Format = Format::Human,
        }
        tables {}
    }
}

section! {
    /// Logging to Graylog, or to another server that understands GELF 1.1. Without this section there is
    /// none. If that server is slow or gone, messages are lost, but Throttle never waits for it.
    #[derive(Serialize)]
    pub struct Gelf {
        options {
            /// The field `_logger` of each message, to distinguish several Throttles.
            name: String = "throttle".to_owned(),
            /// The name or address of the Graylog server.
            host: String = "localhost".to_owned(),
            /// The port of its GELF input.
            port: Number<1, 65_535> = Number::new(12_201),
            /// The least severe messages to send, as for stderr.
            level: Filter = Level::Info.into(),
            /// "udp"; or "tcp", with which no message is lost as long as the input listens.
            protocol: Protocol = Protocol::Udp,
        }
        tables {}
    }
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
    /// One connection, which is opened again when it breaks.
    Tcp,
}

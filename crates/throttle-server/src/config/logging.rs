//! `[logging]`: what is logged, and where to.

use serde::{Deserialize, Serialize};

use super::{
    log_filter::{Filter, Level},
    value::Number,
};

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
            /// The least severe messages to log: ERROR, WARN, INFO, DEBUG, TRACE, or OFF for none. Parts
            /// of the program can have levels of their own: "INFO,throttle_server=DEBUG,hyper=OFF".
            /// The environment variable THROTTLE_LOG has precedence.
            level: Filter = Level::Warn.into(),
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
            level: Filter = Level::Info.into(),
            /// "udp", or "tcp" for an input that is to get every message as long as it listens.
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
    /// One connection, made again when it breaks.
    Tcp,
}

//! Logging: events of [`tracing`] go to the standard error stream and to Graylog, side by side.
//!
//! There is one log for the whole process, so it is the binary that starts it. Each destination is a
//! layer with a level of its own; an event that no destination wants costs next to nothing.

mod gelf;
mod stderr;

use std::io;

use tracing_subscriber::{
    Layer, filter::LevelFilter, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::config::Logging;

/// A running log. When it is dropped, what Graylog has not got yet is sent, within a moment.
#[derive(Debug)]
#[must_use = "messages to Graylog that wait when the process ends are lost"]
pub struct Log {
    _gelf: Option<gelf::Writer>,
}

impl Log {
    /// Starts logging, once in a process.
    ///
    /// # Errors
    ///
    /// If there is a log already, or no thread can be started for a second one.
    pub fn start(config: &Logging) -> io::Result<Self> {
        let (gelf_layer, gelf_writer) = match &config.gelf {
            Some(config) => {
                let (layer, writer) = gelf::start(config)?;
                let layer = layer.with_filter(LevelFilter::from(config.level));
                (Some(layer), Some(writer))
            }
            None => (None, None),
        };
        registry()
            .with(stderr::layer(&config.stderr))
            .with(gelf_layer)
            .try_init()
            .map_err(io::Error::other)?;
        Ok(Self { _gelf: gelf_writer })
    }
}

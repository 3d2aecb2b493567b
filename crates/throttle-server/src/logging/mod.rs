//! Logging: events of [`tracing`] go to the standard error stream and to Graylog, side by side.
//!
//! There is one log for the whole process, so it is the binary that starts it. Each destination is a
//! layer with a filter of its own; an event that no destination wants costs next to nothing. Each has a
//! bounded queue and a thread of its own too, so that nobody who logs ever waits for a destination.

mod gelf;
mod queue;
mod stderr;

use std::{
    fmt, io, iter,
    sync::{Arc, OnceLock},
};

use tracing_subscriber::{
    Layer, filter::Targets, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use self::queue::Queue;
use crate::config::Logging;

/// A running log. When it is dropped, what still waits is sent and written, within a moment.
#[derive(Debug)]
#[must_use = "messages that wait when the process ends are lost"]
pub struct Log {
    // Dropped first, for it has its say on stderr.
    _gelf: Option<gelf::Writer>,
    stderr: stderr::Writer,
}

/// The queues of the log of this process, by the names of its destinations. None before the [`Log`]
/// is started.
pub(crate) fn queues() -> impl Iterator<Item = &'static (&'static str, Arc<Queue>)> {
    QUEUES.get().into_iter().flatten()
}

/// Of the log of this process, by the names of the destinations.
static QUEUES: OnceLock<Vec<(&'static str, Arc<Queue>)>> = OnceLock::new();

/// What a server says about itself when it has started, also if nothing else is logged.
#[derive(Clone, Copy, Debug)]
pub struct Serving<'a> {
    /// Its version.
    pub version: &'a str,
    /// How many semaphores it serves.
    pub semaphores: usize,
    /// Where it listens, as URLs.
    pub addresses: &'a [String],
}

impl fmt::Display for Serving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, semaphores, addresses } = self;
        let plural = if *semaphores == 1 { "" } else { "s" };
        let addresses = addresses.join(" and ");
        write!(f, "throttle {version} serves {semaphores} semaphore{plural} on {addresses}")
    }
}

impl Log {
    /// Starts logging, once in a process.
    ///
    /// # Errors
    ///
    /// If there is a log already, or a thread for it cannot be started.
    pub fn start(config: &Logging) -> io::Result<Self> {
        let (gelf_layer, gelf_writer) = match &config.gelf {
            Some(config) => {
                let (layer, writer) = gelf::start(config)?;
                let layer = layer.with_filter(Targets::from(&config.level));
                (Some(layer), Some(writer))
            }
            None => (None, None),
        };
        let (stderr_layer, stderr_writer) = stderr::start(&config.stderr)?;
        registry().with(stderr_layer).with(gelf_layer).try_init().map_err(io::Error::other)?;
        let gelf_queue = gelf_writer.as_ref().map(|writer| ("gelf", writer.queue()));
        let queues = iter::once(("stderr", stderr_writer.queue())).chain(gelf_queue);
        QUEUES.get_or_init(|| queues.collect());
        Ok(Self { _gelf: gelf_writer, stderr: stderr_writer })
    }

    /// Writes one line to the standard error stream, whatever the level. Never waits for it.
    pub fn announce(&self, serving: &Serving<'_>) {
        self.stderr.announce(serving);
    }
}

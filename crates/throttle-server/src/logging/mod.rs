//! Logging: events of [`tracing`] go to the standard error stream and to Graylog, side by side.
//!
//! A process has one log, so the binary starts it. Each destination is a layer with a filter of its own; an event
//! that no filter admits costs nearly nothing. Each also has a bounded queue and a thread of its own, so that
//! logging never waits for a destination.

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

/// A running log. Dropping it writes and sends the messages that still wait, within a moment.
#[derive(Debug)]
#[must_use = "messages that wait when the process ends are lost"]
pub struct Log {
    // Dropped first, because it logs its own failures to stderr.
    _gelf: Option<gelf::Writer>,
    stderr: stderr::Writer,
}

/// The queues of the log of this process, with the names of their destinations. Empty before the [`Log`] is
/// started.
pub(crate) fn queues() -> impl Iterator<Item = &'static (&'static str, Arc<Queue>)> {
    QUEUES.get().into_iter().flatten()
}

static QUEUES: OnceLock<Vec<(&'static str, Arc<Queue>)>> = OnceLock::new();

/// The message of a server that has started, which is logged whatever the level.
#[derive(Clone, Copy, Debug)]
pub struct Serving<'a> {
    /// The version of the server.
    pub version: &'a str,
    /// How many semaphores it serves.
    pub semaphores: usize,
    /// The addresses it listens on, as URLs.
    pub addresses: &'a [String],
    /// Where its state is: "in memory", for example.
    pub state: &'a str,
}

impl fmt::Display for Serving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, semaphores, addresses, state } = self;
        let plural = if *semaphores == 1 { "" } else { "s" };
        let addresses = addresses.join(" and ");
        write!(f, "throttle {version} serves {semaphores} semaphore{plural} on {addresses}, ")?;
        write!(f, "with its state {state}")
    }
}

impl Log {
    /// Starts logging. Possible once in a process.
    ///
    /// # Errors
    ///
    /// If there is a log already, or if a thread cannot be started.
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

    /// Writes the message of a server that has started to the standard error stream, whatever the level.
    pub fn announce(&self, serving: &Serving<'_>) {
        self.stderr.announce(serving);
    }
}

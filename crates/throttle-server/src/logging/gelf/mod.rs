//! Graylog: each event as a message in GELF 1.1.
//!
//! The layer turns an event into JSON and puts it into a bounded [`Queue`]; a thread of its own sends it. If Graylog
//! is slow, gone or unknown, messages are lost and counted, but logging never waits. It is a thread rather than a
//! task because the log starts before the runtime and ends after it, and because resolving a name blocks.

mod chunk;
mod message;
mod transport;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::{Event, Subscriber, info, warn};
use tracing_subscriber::layer::{Context, Layer};

use self::{message::Origin, transport::Transport};
use super::queue::{Item, Queue};
use crate::config::Gelf;

/// Starts the thread that sends the events of the layer.
pub(super) fn start(config: &Gelf) -> io::Result<(GelfLayer, Writer)> {
    let origin = Arc::new(Origin::new(&config.name));
    let queue = Arc::new(Queue::default());
    let sender = Sender {
        queue: Arc::clone(&queue),
        origin: Arc::clone(&origin),
        transport: Transport::new(config),
    };
    thread::Builder::new().name("gelf".to_owned()).spawn(|| sender.run())?;
    let writer = Writer { queue: Arc::clone(&queue) };
    Ok((GelfLayer { queue, origin }, writer))
}

/// Turns events into messages, except those about sending: each would cause the next.
#[derive(Debug)]
pub(super) struct GelfLayer {
    queue: Arc<Queue>,
    origin: Arc<Origin>,
}

impl<S: Subscriber> Layer<S> for GelfLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == TARGET {
            return;
        }
        self.queue.push(self.origin.message(event, since_1970()));
    }
}

/// A handle of the thread that sends. Dropping it waits a moment for the thread to finish.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
}

impl Writer {
    /// The messages that wait for the thread.
    pub(super) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close(CLOSE_TIMEOUT);
    }
}

/// The state of the thread.
struct Sender {
    queue: Arc<Queue>,
    origin: Arc<Origin>,
    transport: Transport,
}

impl Sender {
    fn run(mut self) {
        while let Some(item) = self.queue.next() {
            let message = match item {
                Item::Message(message) => message,
                Item::Lost(count) => self.origin.loss(count, since_1970()),
            };
            if !self.send(&message) {
                break;
            }
        }
        self.queue.finish();
    }

    /// Sends a message, and retries until it succeeds. When the process ends there is only one attempt; returns
    /// false if that failed.
    fn send(&mut self, message: &str) -> bool {
        let mut is_first_failure = true;
        while let Err(error) = self.transport.send(message) {
            if std::mem::take(&mut is_first_failure) {
                warn!(target: TARGET, %error, to = %self.transport, "cannot send logs");
            }
            if !self.queue.is_open() {
                return false;
            }
            self.queue.pause(RETRY_INTERVAL);
        }
        if !is_first_failure {
            info!(target: TARGET, to = %self.transport, "logs are sent again");
        }
        true
    }
}

/// The time of a message; nothing else depends on the wall clock.
#[expect(clippy::disallowed_methods, reason = "log messages have the time of the wall clock")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The target of the messages about sending.
const TARGET: &str = "throttle::log";
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const CLOSE_TIMEOUT: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;

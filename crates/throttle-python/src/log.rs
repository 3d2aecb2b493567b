//! Forwards events of the client to Python's `logging`.
//!
//! The threads of the runtime put them into a queue, and a Python thread takes them out. The queue is bounded:
//! writers never wait, and events that do not fit are counted.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use pyo3::prelude::*;
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use crate::{
    process::ProcessState,
    wakeup::{Wakeup, WakeupSender},
};

/// The events of this process that Python has not taken yet.
pub(crate) struct Log {
    queue: Mutex<Queue>,
    /// The lowest level that is forwarded, as a number of `logging`.
    min_level: AtomicU8,
}

#[derive(Default)]
struct Queue {
    records: VecDeque<(u8, String)>,
    dropped: u64,
    /// `None` until [`forward_log`] is called.
    reader: Option<Arc<WakeupSender>>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::default(), min_level: AtomicU8::new(WARNING) }
    }

    /// A dispatcher of events that writes into this log.
    pub(crate) fn dispatch(self: &Arc<Self>) -> Dispatch {
        Dispatch::new(QueueSubscriber(Arc::clone(self)))
    }

    fn write(&self, level: u8, text: String) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.records.len() < MAX_QUEUED_EVENTS {
            queue.records.push_back((level, text));
        } else {
            queue.dropped += 1;
        }
        let reader = queue.reader.clone();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn take(&self) -> Vec<(u8, String)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records: Vec<_> = mem::take(&mut queue.records).into();
        let dropped = mem::take(&mut queue.dropped);
        drop(queue);
        if dropped > 0 {
            records.push((WARNING, format!("{dropped} events did not fit into the queue")));
        }
        records
    }
}

/// From now on wakes the reader when there are events to [take](take_log). Forwards events from this level on.
#[pyfunction]
pub(crate) fn forward_log(py: Python<'_>, wakeup: &Wakeup, min_level: u8) -> PyResult<()> {
    let process = ProcessState::current(py)?;
    process.log.min_level.store(min_level, Ordering::Relaxed);
    let mut queue = process.log.queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.reader = Some(Arc::clone(&wakeup.sender));
    drop(queue);
    wakeup.sender.wake();
    Ok(())
}

/// The events since the last call: for each the level as a number of `logging`, and the text.
#[pyfunction]
pub(crate) fn take_log(py: Python<'_>) -> PyResult<Vec<(u8, String)>> {
    Ok(ProcessState::current(py)?.log.take())
}

/// Writes events of the client into the log. It ignores spans.
struct QueueSubscriber(Arc<Log>);

impl Subscriber for QueueSubscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata) && level(metadata) >= self.0.min_level.load(Ordering::Relaxed)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.write(level(event.metadata()), text.finish());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.target().starts_with("throttle::client")
}

/// The level as a number of `logging`.
fn level(metadata: &Metadata<'_>) -> u8 {
    match *metadata.level() {
        Level::ERROR => 40,
        Level::WARN => WARNING,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

/// Formats an event: its message, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn finish(self) -> String {
        let Self { message, fields } = self;
        if fields.is_empty() { message } else { format!("{message} ({fields})") }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a `String` cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            let comma = if self.fields.is_empty() { "" } else { ", " };
            write!(self.fields, "{comma}{}={value:?}", field.name())
        };
    }
}

/// Enough for any burst of events; more of them pile up only if Python takes none out.
const MAX_QUEUED_EVENTS: usize = 1_024;

/// The number of the level in `logging`.
const WARNING: u8 = 30;

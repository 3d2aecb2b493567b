//! The standard error stream: lines for people, or JSON.
//!
//! Whoever reads the stream may be slow or have stopped, and a write to a full pipe blocks. So the
//! layer puts its lines into a bounded [`Queue`], and a thread of its own writes them. What does not
//! fit is dropped and counted.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use tracing::{Subscriber, info, subscriber, warn};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry,
    registry::LookupSpan,
};

use super::{
    Serving,
    queue::{Item, Queue},
};
use crate::config::{Format, Stderr};

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// Starts a thread that writes what the layer hears.
pub(super) fn start<S>(config: &Stderr) -> io::Result<(BoxedLayer<S>, Writer)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let queue = Arc::new(Queue::default());
    let lines = Lines(Arc::clone(&queue));
    let writer = Writer { queue: Arc::clone(&queue), format: config.format };
    let thread_config = config.clone();
    thread::Builder::new().name("stderr".to_owned()).spawn(move || run(&queue, &thread_config))?;
    Ok((layer(config, lines), writer))
}

/// Turns events into lines, in colour if somebody looks at them.
fn layer<S, W>(config: &Stderr, to: W) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    Box::new(lines(config.format, to).with_filter(Targets::from(&config.level)))
}

/// The same, whatever the level.
fn lines<S, W>(format: Format, to: W) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(to);
    match format {
        Format::Human => Box::new(lines.with_ansi(io::stderr().is_terminal())),
        Format::Json => Box::new(lines.json()),
    }
}

/// Writes line after line until there are no more.
fn run(queue: &Queue, config: &Stderr) {
    while let Some(item) = queue.next() {
        match item {
            Item::Message(line) => {
                // If nobody reads the log there is nobody to tell.
                let _ = io::stderr().write_all(line.as_bytes());
            }
            Item::Lost(count) => report_loss(count, config),
        }
    }
    queue.finish();
}

/// Says that lines were lost, past the queue: nothing that is said here can be lost in turn.
fn report_loss(count: u64, config: &Stderr) {
    let direct = registry().with(layer(config, io::stderr));
    subscriber::with_default(direct, || {
        warn!(target: "throttle::log", lost = count, "log messages were lost");
    });
}

/// The end of the queue at which lines go in.
struct Lines(Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Takes a line, which is always written as a whole.
struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stands for the thread that writes. When it is dropped, the thread gets a moment to finish.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    format: Format,
}

impl Writer {
    /// Writes that the server serves, whatever the level. For people it is a sentence of its own; a
    /// program that reads the log gets a line like all others.
    pub(super) fn announce(&self, serving: &Serving<'_>) {
        if self.format == Format::Human {
            return self.queue.push(format!("{serving}\n"));
        }
        let subscriber = registry().with(lines(self.format, Lines(Arc::clone(&self.queue))));
        let Serving { version, semaphores, addresses } = *serving;
        let addresses = addresses.join(" ");
        subscriber::with_default(subscriber, || {
            info!(target: "throttle", version, semaphores, addresses, "{serving}");
        });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close(LAST_MOMENT);
    }
}

const LAST_MOMENT: Duration = Duration::from_millis(200);

//! The standard error stream: lines for people, or JSON.
//!
//! The reader of the stream may be slow or stopped, and a write to a full pipe blocks. So the layer puts its lines
//! into a bounded [`Queue`], and a thread of its own writes them. Lines that do not fit are dropped and counted.

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

/// Starts the thread that writes the events of the layer.
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

/// A layer that turns the events which the filter admits into lines.
fn layer<S, W>(config: &Stderr, to: W) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    Box::new(lines(config.format, to).with_filter(Targets::from(&config.level)))
}

/// A layer that turns all events into lines, in colour on a terminal.
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

/// Writes lines until the queue has ended.
fn run(queue: &Queue, config: &Stderr) {
    let mut output = Output::new(io::stderr(), config.clone());
    while let Some(item) = queue.next() {
        match item {
            Item::Message(line) => {
                if output.message(&line).is_err() {
                    queue.count_lost();
                }
            }
            Item::Lost(count) => output.lose(count),
        }
    }
    queue.finish();
}

/// Writes lines to a stream that may fail for a while, such as a file on a full disk.
struct Output<W> {
    to: W,
    config: Stderr,
    /// How many lines were lost since that was last reported.
    lost: u64,
    /// Whether only a part of the last line was written.
    is_torn: bool,
}

impl<W: Write> Output<W> {
    fn new(to: W, config: Stderr) -> Self {
        Self { to, config, lost: 0, is_torn: false }
    }

    /// Writes a line, and before it the number of lost lines, if there are any.
    fn message(&mut self, line: &str) -> io::Result<()> {
        let outcome = self.report_losses().and_then(|()| self.write(line));
        if outcome.is_err() {
            self.lost += 1;
        }
        outcome
    }

    /// Reports so many lost lines as soon as writing succeeds.
    fn lose(&mut self, count: u64) {
        self.lost += count;
        // If writing fails now, the next line tries again.
        let _ = self.report_losses();
    }

    fn report_losses(&mut self) -> io::Result<()> {
        if self.lost > 0 {
            self.write(&loss(self.lost, &self.config))?;
            self.lost = 0;
        }
        Ok(())
    }

    /// Writes a line, after a line break if the line before it was torn.
    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.is_torn {
            self.to.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match self.to.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.is_torn = !rest.is_empty();
        }
        Ok(())
    }
}

/// The message with the number of lost lines; empty if warnings are not logged.
fn loss(count: u64, config: &Stderr) -> String {
    let queue = Arc::new(Queue::default());
    let direct = registry().with(layer(config, Lines(Arc::clone(&queue))));
    subscriber::with_default(direct, || {
        warn!(target: "throttle::log", lost = count, "log messages were lost");
    });
    queue.close(Duration::ZERO);
    match queue.next() {
        Some(Item::Message(line)) => line,
        Some(Item::Lost(_)) | None => String::new(),
    }
}

/// Makes writers that put lines into the queue.
struct Lines(Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Puts one line into the queue. The layer writes it with a single call.
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

/// A handle of the thread that writes. Dropping it waits a moment for the thread to finish.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    format: Format,
}

impl Writer {
    /// The lines that wait for the thread.
    pub(super) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Writes that the server has started, whatever the level: as a plain sentence in the format for people, as an
    /// event like all others in JSON.
    pub(super) fn announce(&self, serving: &Serving<'_>) {
        if self.format == Format::Human {
            return self.queue.push(format!("{serving}\n"));
        }
        let subscriber = registry().with(lines(self.format, Lines(Arc::clone(&self.queue))));
        let Serving { version, semaphores, addresses, state } = *serving;
        let addresses = addresses.join(" ");
        subscriber::with_default(subscriber, || {
            info!(target: "throttle", version, semaphores, addresses, state, "{serving}");
        });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close(CLOSE_TIMEOUT);
    }
}

const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with this much room left.
    struct Disk {
        room: usize,
        text: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.room);
            if length == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= length;
            self.text.extend(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_lost_on_a_full_disk_are_reported_once_when_there_is_room_again() {
        let config = Stderr { format: Format::Json, ..Stderr::default() };
        let mut output = Output::new(Disk { room: 10, text: Vec::new() }, config);
        let outcomes =
            ["one\n", "two\n", "three\n", "four\n"].map(|line| output.message(line).is_ok());
        assert_eq!(outcomes, [true, true, false, false]);
        output.lose(5);
        output.to.room = 1_000;
        assert!(output.message("five\n").is_ok() && output.message("six\n").is_ok());
        let text = String::from_utf8(output.to.text).unwrap();
        let lines = text.lines().collect::<Vec<_>>();
        let [one, two, torn, loss, five, six] = lines[..] else { panic!("{text}") };
        assert_eq!([one, two, torn, five, six], ["one", "two", "th", "five", "six"]);
        let loss: serde_json::Value = serde_json::from_str(loss).unwrap();
        assert_eq!(loss["fields"]["message"], "log messages were lost");
        assert_eq!(loss["fields"]["lost"], 7);
    }
}

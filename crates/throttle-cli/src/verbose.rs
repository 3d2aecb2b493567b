//! `--verbose`: events of the client on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::output;

/// Installs a subscriber for events. Level 0 shows none, level 1 the attempts, heartbeats and losses of the
/// client, level 2 also the events of the libraries below it.
pub(crate) fn start(level: u8) {
    let (client, others) = match level {
        0 => return,
        1 => (LevelFilter::DEBUG, LevelFilter::OFF),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    let events = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(|| StderrWriter)
        .log_internal_errors(false);
    let targets = Targets::new().with_target("throttle", client).with_default(others);
    tracing_subscriber::registry().with(events).with(targets).init();
}

/// Writes to standard error. Never fails and never blocks.
struct StderrWriter;

impl io::Write for StderrWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        output::to_stderr(String::from_utf8_lossy(text).into_owned());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

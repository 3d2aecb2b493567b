//! The standard error stream: lines for people, or JSON.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::{Layer, filter::LevelFilter, fmt, registry::LookupSpan};

use crate::config::{Format, Stderr};

/// Writes events to the standard error stream, in colour if somebody looks at it.
pub(super) fn layer<S>(config: &Stderr) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(io::stderr);
    let lines: Box<dyn Layer<S> + Send + Sync> = match config.format {
        Format::Human => Box::new(lines.with_ansi(io::stderr().is_terminal())),
        Format::Json => Box::new(lines.json()),
    };
    Box::new(lines.with_filter(LevelFilter::from(config.level)))
}

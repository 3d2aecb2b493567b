//! Writes messages to standard error and results to standard output.
//!
//! A message must not stop the program, because there may be a command to kill at that moment. Standard error
//! may be full, closed, or a pipe that nobody reads, where a write never returns. Messages therefore go
//! through a queue to a thread, and are dropped when the queue is full. Results are written directly, and a
//! failed write is an error with its own exit status.

use std::{
    fmt,
    io::{self, Write as _},
    sync::{
        OnceLock,
        mpsc::{self, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use anyhow::anyhow;

use crate::{
    escape::escape_for_terminal,
    exit_status::{ExitStatus, Failure},
};

/// Writes a message to standard error, on lines of its own and escaped for terminals. Never blocks and never
/// fails.
pub(crate) fn print_message(text: impl fmt::Display) {
    let text = text.to_string();
    let lines = text.lines().map(escape_for_terminal).collect::<Vec<_>>();
    to_stderr(format!("throttlectl: {}\n", lines.join("\n")));
}

/// Writes the message of a failure to standard error, and returns the exit status.
pub(crate) fn print_failure(failure: Failure) -> ExitStatus {
    match failure.hint {
        Some(hint) => print_message(format_args!("{:#}; {hint}", failure.error)),
        None => print_message(format_args!("{:#}", failure.error)),
    }
    failure.status
}

/// Writes a text to standard error unchanged. Never blocks and never fails.
pub(crate) fn to_stderr(text: String) {
    if let Some(queue) = QUEUE.get_or_init(start) {
        // The queue is full only if standard error accepts nothing any more.
        let (Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) =
            queue.try_send(Entry::Text(text));
    }
}

/// Waits until the messages are written, for [`FLUSH_TIMEOUT`] at most.
pub(crate) fn flush() {
    if let Some(Some(queue)) = QUEUE.get() {
        let (written, is_written) = mpsc::channel();
        if queue.try_send(Entry::Flush(written)).is_ok() {
            // After the timeout the messages are lost.
            let (Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) =
                is_written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Writes a result to standard output. A closed pipe is no error.
///
/// # Errors
///
/// [`ExitStatus::OUTPUT`] with the reason.
pub(crate) fn print_result(text: &str) -> Result<(), Failure> {
    to_stdout(text).or_else(unless_closed)
}

/// Writes a text to standard output. May block.
pub(crate) fn to_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Turns a failed write to standard output into a failure, unless the pipe was closed, as with `| head`.
pub(crate) fn unless_closed(error: io::Error) -> Result<(), Failure> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(stdout_failure(error)) }
}

/// The failure of a write to standard output.
pub(crate) fn stdout_failure(error: io::Error) -> Failure {
    Failure::new(ExitStatus::OUTPUT, anyhow!("cannot write to standard output: {error}"))
}

enum Entry {
    Flush(mpsc::Sender<()>),
    Text(String),
}

static QUEUE: OnceLock<Option<SyncSender<Entry>>> = OnceLock::new();

/// Starts the thread that writes. If the system cannot start it, there are no messages.
fn start() -> Option<SyncSender<Entry>> {
    let (queue, entries) = mpsc::sync_channel(QUEUE_LENGTH);
    let write = move || {
        // With `stty tostop`, a write from the background would stop the program.
        #[cfg(unix)]
        let _ = nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGTTOU).thread_block();
        for entry in entries {
            match entry {
                Entry::Text(text) => {
                    // A failed write of a message cannot be reported.
                    let _ = io::stderr().write_all(text.as_bytes());
                }
                Entry::Flush(written) => {
                    let _ = written.send(());
                }
            }
        }
    };
    thread::Builder::new().name("messages".to_owned()).spawn(write).ok()?;
    Some(queue)
}

/// In messages. Long enough for a reader that pauses for a moment.
const QUEUE_LENGTH: usize = 1_024;

/// How long the program waits for its last messages before it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

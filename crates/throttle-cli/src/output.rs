//! What the program writes: messages to standard error, results to standard output.
//!
//! A message must not stop the program. Standard error may be full, closed, or a pipe that nobody reads,
//! in which a write never returns; in that moment there may be a command to kill. So messages go
//! through a queue to a thread, and are dropped if that does not get rid of them. Results are written
//! directly, and a failure is an error with an exit status of its own.

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

/// Writes a message to standard error, as lines of its own, in which nothing that strangers wrote is
/// obeyed by a terminal. Returns at once, whatever becomes of it.
pub(crate) fn message(text: impl fmt::Display) {
    let text = text.to_string();
    let lines = text.lines().map(escape_for_terminal).collect::<Vec<_>>();
    to_stderr(format!("throttlectl: {}\n", lines.join("\n")));
}

/// Says what happened, and returns what to exit with.
pub(crate) fn failure(failure: Failure) -> ExitStatus {
    match failure.hint {
        Some(hint) => message(format_args!("{:#}; {hint}", failure.error)),
        None => message(format_args!("{:#}", failure.error)),
    }
    failure.status
}

/// Writes to standard error as it is. Returns at once, whatever becomes of it.
pub(crate) fn to_stderr(text: String) {
    if let Some(queue) = QUEUE.get_or_init(start) {
        // A full queue belongs to a stream that takes nothing any more.
        let (Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) =
            queue.try_send(Entry::Text(text));
    }
}

/// Waits until the messages are written, but not for long.
pub(crate) fn flush() {
    if let Some(Some(queue)) = QUEUE.get() {
        let (written, is_written) = mpsc::channel();
        if queue.try_send(Entry::Flush(written)).is_ok() {
            // The messages of a stream that takes none are lost.
            let (Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) =
                is_written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Writes a result to standard output. A reader that has gone, as in `| head`, has read enough.
///
/// # Errors
///
/// [`ExitStatus::OUTPUT`] with the reason.
pub(crate) fn result(text: &str) -> Result<(), Failure> {
    match to_stdout(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(stdout_failure),
    }
}

/// Writes to standard output all of a text.
pub(crate) fn to_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Why a result is not where it should be.
pub(crate) fn stdout_failure(error: io::Error) -> Failure {
    Failure::new(ExitStatus::OUTPUT, anyhow!("cannot write to standard output: {error}"))
}

enum Entry {
    Flush(mpsc::Sender<()>),
    Text(String),
}

static QUEUE: OnceLock<Option<SyncSender<Entry>>> = OnceLock::new();

/// Starts the thread that writes. A machine without room for it gets no messages.
fn start() -> Option<SyncSender<Entry>> {
    let (queue, entries) = mpsc::sync_channel(QUEUE_LENGTH);
    let write = move || {
        // In the background of a terminal with `stty tostop` a write would stop the program.
        #[cfg(unix)]
        let _ = nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGTTOU).thread_block();
        for entry in entries {
            match entry {
                Entry::Text(text) => {
                    // There is nobody left to tell.
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

/// More messages than the program writes while a reader that is only slow takes a breath.
const QUEUE_LENGTH: usize = 1_024;

/// How long the end of the program waits for its last messages.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

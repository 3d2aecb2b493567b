//! The second screen of a terminal, which leaves the first one as it was.

use std::{
    io::{self, IsTerminal as _},
    panic,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::output::to_stdout;

/// Enters the second screen and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Shows the cursor and returns to the first screen.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// How long a terminal may take to show the first screen. One that was stopped by Ctrl+S takes for ever.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);

/// Whether the second screen is shown. A terminal is one for the whole process, as its state is.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Standard output: the second screen if it is a terminal, else text behind text.
///
/// It is written on another thread, for a terminal or a pipe may take nothing for as long as it likes, and
/// signals have to be attended meanwhile.
///
/// When it is dropped, the first screen is back. A panic brings it back before it writes its message,
/// which would go with the second screen otherwise.
pub(super) struct Screen {
    is_terminal: bool,
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        if is_terminal {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                leave();
                report(panic);
            }));
        }
        Self { is_terminal, writing: None }
    }

    /// Whether each text takes the place of the one before.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether the last text is still being written.
    pub(super) fn is_busy(&self) -> bool {
        self.writing.is_some()
    }

    /// Begins to write a text. At a terminal it replaces the one before, and as much of it is shown as
    /// fits.
    pub(super) fn show(&mut self, text: &str) {
        let text = if self.is_terminal { frame(text) } else { format!("{text}\n") };
        self.writing = Some(spawn_blocking(move || to_stdout(&text)));
    }

    /// Returns when the last text is written.
    pub(super) async fn written(&mut self) -> io::Result<()> {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let written = writing.await;
        self.writing = None;
        written?
    }

    /// Shows the first screen, as it was, until the next text.
    pub(super) fn leave(&self) {
        leave();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// What makes a terminal show a text on its second screen.
fn frame(text: &str) -> String {
    let is_shown = IS_SHOWN.swap(true, Ordering::Relaxed);
    let mut frame = if is_shown { String::new() } else { ENTER.to_owned() };
    // From the top left corner; what was there before is erased line by line, so that nothing flickers.
    frame += "\x1b[H";
    for (number, line) in fit(text, size()).iter().enumerate() {
        if number > 0 {
            frame += "\r\n";
        }
        frame += line;
        frame += "\x1b[K";
    }
    frame + "\x1b[J"
}

fn leave() {
    if !IS_SHOWN.swap(false, Ordering::Relaxed) {
        return;
    }
    let (written, is_written) = mpsc::channel();
    let leave = move || {
        // A terminal that is gone has nothing to bring back.
        let _ = to_stdout(LEAVE);
        let _ = written.send(());
    };
    if thread::Builder::new().spawn(leave).is_ok() {
        let _ = is_written.recv_timeout(LEAVE_TIMEOUT);
    }
}

/// Columns and rows.
#[derive(Clone, Copy, Debug)]
struct Size {
    columns: usize,
    rows: usize,
}

/// The lines of a text, cut off at the edges. What is below the last row is counted there.
fn fit(text: &str, size: Option<Size>) -> Vec<String> {
    let lines: Vec<_> = text.lines().collect();
    let Some(Size { columns, rows }) = size else {
        return lines.into_iter().map(str::to_owned).collect();
    };
    let cut = |line: &str| line.chars().take(columns).collect();
    if lines.len() <= rows {
        return lines.into_iter().map(cut).collect();
    }
    let shown = rows.saturating_sub(1);
    let more = format!("… and {} lines more", lines.len() - shown);
    lines[..shown].iter().copied().chain([more.as_str()]).map(cut).collect()
}

/// The size of the terminal, if it tells one.
#[cfg(unix)]
fn size() -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let size = Size { columns: size.ws_col.into(), rows: size.ws_row.into() };
    (size.columns > 0 && size.rows > 0).then_some(size)
}

/// The terminal wraps and scrolls by itself.
#[cfg(not(unix))]
fn size() -> Option<Size> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_off_and_counted() {
        let size = |columns, rows| Some(Size { columns, rows });
        assert_eq!(fit("one\ntwo\n", None), ["one", "two"]);
        assert_eq!(fit("öne\ntwo\n", size(2, 2)), ["ön", "tw"]);
        assert_eq!(fit("1\n2\n3\n4\n", size(80, 3)), ["1", "2", "… and 2 lines more"]);
        assert_eq!(fit("1\n2\n", size(80, 1)), ["… and 2 lines more"]);
    }
}

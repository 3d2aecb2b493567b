//! Writes to the second screen of a terminal, and leaves the first one unchanged.

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

/// How long the return to the first screen may take. A terminal that Ctrl+S has stopped never takes it.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);

/// Whether the second screen is shown. Global, because the process has one terminal and the panic hook uses
/// it too.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Standard output. At a terminal, each text replaces the last one on the second screen; elsewhere, texts
/// follow each other.
///
/// Another thread writes, because a terminal or a pipe may block for ever, and signals have to be handled
/// meanwhile.
///
/// Drop returns to the first screen. So does a panic, before it writes its message, which would vanish with
/// the second screen otherwise.
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

    /// Whether standard output is a terminal, so that each text replaces the last one.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether the last text is still being written.
    pub(super) fn is_busy(&self) -> bool {
        self.writing.is_some()
    }

    /// Starts to write a text. At a terminal, it is cut off to the size of the screen.
    pub(super) fn show(&mut self, text: &str) {
        let text = if self.is_terminal { frame(text) } else { format!("{text}\n") };
        self.writing = Some(spawn_blocking(move || to_stdout(&text)));
    }

    /// Resolves when the last text is written; never if none is being written.
    pub(super) async fn written(&mut self) -> io::Result<()> {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let written = writing.await;
        self.writing = None;
        written?
    }

    /// Returns to the first screen until the next text.
    pub(super) fn leave(&self) {
        leave();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// The bytes that show a text on the second screen.
fn frame(text: &str) -> String {
    let is_shown = IS_SHOWN.swap(true, Ordering::Relaxed);
    let mut frame = if is_shown { String::new() } else { ENTER.to_owned() };
    // Overwrite from the top left corner and erase the rest of each line. Clearing the screen would flicker.
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
        // The terminal may be gone.
        let _ = to_stdout(LEAVE);
        let _ = written.send(());
    };
    if thread::Builder::new().spawn(leave).is_ok() {
        let _ = is_written.recv_timeout(LEAVE_TIMEOUT);
    }
}

/// The size of the terminal, in characters.
#[derive(Clone, Copy, Debug)]
struct Size {
    columns: usize,
    rows: usize,
}

/// The lines of a text, cut off to the size. The last row shows the number of lines that do not fit.
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

/// The size of the terminal, if it reports one.
#[cfg(unix)]
fn size() -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let size = Size { columns: size.ws_col.into(), rows: size.ws_row.into() };
    (size.columns > 0 && size.rows > 0).then_some(size)
}

/// Unknown: the terminal wraps and scrolls.
#[cfg(not(unix))]
fn size() -> Option<Size> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_do_not_fit_are_cut_off_and_counted() {
        let size = |columns, rows| Some(Size { columns, rows });
        assert_eq!(fit("one\ntwo\n", None), ["one", "two"]);
        assert_eq!(fit("öne\ntwo\n", size(2, 2)), ["ön", "tw"]);
        assert_eq!(fit("1\n2\n3\n4\n", size(80, 3)), ["1", "2", "… and 2 lines more"]);
        assert_eq!(fit("1\n2\n", size(80, 1)), ["… and 2 lines more"]);
    }
}

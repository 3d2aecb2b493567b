//! The second screen of a terminal, which leaves the first one as it was.

use std::{
    io::{self, IsTerminal as _},
    panic,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::say::write;

/// Enters the second screen and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Shows the cursor and returns to the first screen.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Whether the second screen is shown. A terminal is one for the whole process, as its state is.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Standard output: the second screen if it is a terminal, else text behind text.
///
/// When it is dropped, the first screen is back. A panic brings it back before it writes its message,
/// which would go with the second screen otherwise.
pub(super) struct Screen {
    is_terminal: bool,
}

impl Screen {
    /// Shows the second screen of a terminal.
    pub(super) fn open() -> io::Result<Self> {
        let screen = Self { is_terminal: io::stdout().is_terminal() };
        if screen.is_terminal {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                leave();
                report(panic);
            }));
        }
        screen.enter()?;
        Ok(screen)
    }

    /// Shows the second screen again, after [`leave`](Self::leave).
    pub(super) fn enter(&self) -> io::Result<()> {
        if self.is_terminal && !IS_SHOWN.swap(true, Ordering::Relaxed) {
            write(ENTER)?;
        }
        Ok(())
    }

    /// Shows the first screen, as it was.
    pub(super) fn leave(&self) {
        leave();
    }

    /// Prints a text behind what was printed before, unless it is a terminal.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        if self.is_terminal { Ok(()) } else { write(&format!("{text}\n")) }
    }

    /// Shows a text in place of the one before, as much of it as fits, if it is a terminal.
    pub(super) fn refresh(&self, text: &str) -> io::Result<()> {
        if !self.is_terminal {
            return Ok(());
        }
        // From the top left corner; what was there before is erased line by line, so that nothing
        // flickers.
        let mut frame = "\x1b[H".to_owned();
        for (number, line) in fit(text, size()).iter().enumerate() {
            if number > 0 {
                frame += "\r\n";
            }
            frame += line;
            frame += "\x1b[K";
        }
        write(&(frame + "\x1b[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn leave() {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        // A terminal that is gone has nothing to bring back.
        let _ = write(LEAVE);
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

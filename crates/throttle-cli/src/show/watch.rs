//! A table that stays up to date.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use throttle_client::Client;

use super::semaphores_table;
use crate::exit::{Code, Failure};

/// Shows all semaphores until Ctrl+C, on a screen of its own if it is a terminal.
pub(super) async fn run(client: &Client, interval: Duration) -> Result<Code, Failure> {
    let screen = Screen::open();
    let showing = async {
        loop {
            let text = match client.semaphores().await {
                Ok(semaphores) => semaphores_table(&semaphores),
                // It may come back, and whoever watches wants to see that.
                Err(error) => format!("{error}\n"),
            };
            screen.show(&text)?;
            tokio::time::sleep(interval).await;
        }
    };
    tokio::select! {
        stopped = showing => stopped,
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt.map(|()| Code::SUCCESS)?),
    }
}

/// The second screen that terminals have, which leaves the first one as it was.
struct Screen {
    is_terminal: bool,
}

impl Screen {
    fn open() -> Self {
        let is_terminal = io::stdout().is_terminal();
        if is_terminal {
            print!("\x1b[?1049h");
        }
        Self { is_terminal }
    }

    fn show(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout();
        if self.is_terminal {
            // From the top left corner, and nothing of what was there before.
            write!(stdout, "\x1b[H\x1b[J")?;
        }
        writeln!(stdout, "{text}")?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            print!("\x1b[?1049l");
        }
    }
}

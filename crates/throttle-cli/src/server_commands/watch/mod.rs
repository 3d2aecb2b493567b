//! `throttlectl watch`: a table that is updated until a signal ends it.

mod screen;
mod signals;

use std::{io, time::Duration};

use throttle_client::Client;
use tokio::time::{Instant, sleep};

use self::{
    screen::Screen,
    signals::{Signal, Signals, stop},
};
use super::{
    parse,
    tables::{self, SemaphoreStatus},
};
use crate::{
    escape::escape_for_terminal,
    exit_status::{ExitStatus, Failure},
    output,
};

/// Shows all semaphores until a signal ends it, on the second screen if standard output is a terminal.
///
/// Asks again `interval` after each answer. The client must not retry: the next request is the next attempt,
/// and the user should see that the last one failed.
pub(super) async fn run(client: &Client, interval: Duration) -> Result<ExitStatus, Failure> {
    let signals = Signals::listen()?;
    match show(client, interval, signals).await {
        Ok(status) => Ok(status),
        Err(error) => output::unless_closed(error).map(|()| ExitStatus::SUCCESS),
    }
}

/// Runs the loop of [`run`]. Errors are those of standard output.
async fn show(client: &Client, interval: Duration, mut signals: Signals) -> io::Result<ExitStatus> {
    let mut screen = Screen::new();
    let mut view = View::new(interval);
    let ask = async |pause| {
        sleep(pause).await;
        parse(&super::semaphores(client).await?)
    };
    let mut answer = Box::pin(ask(Duration::ZERO));
    let mut redraw = screen.is_terminal();
    loop {
        if redraw && !screen.is_busy() {
            screen.show(&view.text(now()));
            redraw = false;
        }
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Signal::End(status) => return Ok(status),
                Signal::Redraw => redraw = screen.is_terminal(),
                Signal::Stop => {
                    screen.leave();
                    stop();
                    redraw = screen.is_terminal();
                }
            },
            written = screen.written() => written?,
            result = &mut answer => {
                view.record(result, now());
                answer.set(ask(interval));
                redraw = true;
            }
            // The age of the table grows also while there is no answer.
            () = sleep(SECOND), if screen.is_terminal() => redraw = true,
        }
    }
}

/// The last answer of the server, and its age.
#[derive(Debug)]
struct View {
    /// How old a table may be before its age is shown.
    fresh_for: Duration,
    table: String,
    /// When the server sent the table.
    answered_at: Option<Instant>,
    /// Why there is no newer one.
    error: Option<String>,
}

impl View {
    fn new(interval: Duration) -> Self {
        let fresh_for = interval.saturating_add(OVERDUE_AFTER);
        Self { fresh_for, table: String::new(), answered_at: None, error: None }
    }

    fn record(&mut self, answer: Result<Vec<SemaphoreStatus>, Failure>, now: Instant) {
        match answer {
            Ok(semaphores) => {
                self.table = tables::semaphores(&semaphores);
                self.answered_at = Some(now);
                self.error = None;
            }
            Err(Failure { error, .. }) => {
                self.error = Some(escape_for_terminal(&format!("{error:#}")))
            }
        }
    }

    /// The table. If it is out of date, lines before it show its age and the reason.
    fn text(&self, now: Instant) -> String {
        let Some(answered_at) = self.answered_at else {
            return self.error.as_deref().unwrap_or("no answer yet").to_owned() + "\n";
        };
        let age = now.saturating_duration_since(answered_at);
        let reason = match &self.error {
            Some(error) => error,
            None if age > self.fresh_for => "no answer since then",
            None => return self.table.clone(),
        };
        format!("as of {} ago: {reason}\n\n{}", tables::format_span(age), self.table)
    }
}

#[expect(clippy::disallowed_methods, reason = "this program has no other clock")]
fn now() -> Instant {
    Instant::now()
}

const SECOND: Duration = Duration::from_secs(1);

/// How long an answer may take before the age of the table is shown.
const OVERDUE_AFTER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> SemaphoreStatus {
        let json = r#"{"name":"A","max":1,"level":0,"held":0,"pending":0,"remainder":1,"holders":0,
            "waiters":0,"longest_pending":"0s"}"#;
        serde_json::from_str(json).unwrap()
    }

    fn failure() -> Failure {
        Failure::new(ExitStatus::UNREACHABLE, anyhow::anyhow!("it is away"))
    }

    #[test]
    fn a_table_that_is_out_of_date_shows_its_age_and_the_reason() {
        let start = now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut view = View::new(Duration::from_secs(1));
        assert_eq!(view.text(start), "no answer yet\n");
        view.record(Err(failure()), start);
        assert!(view.text(start).starts_with("it is away"));

        view.record(Ok(vec![summary()]), start);
        let table = view.text(after(4));
        assert!(table.starts_with("SEMAPHORE"), "{table}");
        assert_eq!(view.text(after(5)), format!("as of 5s ago: no answer since then\n\n{table}"));

        view.record(Err(failure()), after(1));
        let text = view.text(after(12));
        assert!(text.starts_with("as of 12s ago: it is away"), "{text}");
        assert!(text.ends_with(&table));

        view.record(Ok(vec![summary()]), after(13));
        assert_eq!(view.text(after(13)), table);
    }
}

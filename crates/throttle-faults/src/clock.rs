//! The only place that reads the clock. Processes live in real time.

use std::time::Duration;

use tokio::time::Instant;

/// The present instant.
#[expect(clippy::disallowed_methods, reason = "other processes live in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns as soon as `condition` holds, or an error that names `what` after the time `within`.
///
/// # Errors
///
/// The condition did not hold in time.
pub async fn until(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let start = now();
    while !condition() {
        anyhow::ensure!(start.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

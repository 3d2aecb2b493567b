//! The only module that reads the clock. The worker processes run in real time.

use std::time::Duration;

use tokio::time::Instant;

/// The present instant.
#[expect(clippy::disallowed_methods, reason = "the worker processes run in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until `condition` holds.
///
/// # Errors
///
/// The condition does not hold within this time. The error names `what`.
pub async fn until<F: Future<Output = bool>>(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<()> {
    let start = now();
    while !condition().await {
        anyhow::ensure!(start.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// The pause between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

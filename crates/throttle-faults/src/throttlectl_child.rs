//! The command that `throttlectl lock` runs while it holds the lock.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::sync::oneshot;

/// Prints the fencing token, and waits for a line or the end of the input.
///
/// `throttlectl` terminates it before that if the lock is lost.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let token =
        std::env::var("THROTTLE_FENCING_TOKEN").context("THROTTLE_FENCING_TOKEN is not set")?;
    let terminated = terminated()?;
    println!("held {token}");
    // In a thread of its own, because reading cannot be cancelled.
    let (done, line) = oneshot::channel();
    std::thread::spawn(move || done.send(std::io::stdin().read_line(&mut String::new())));
    tokio::select! {
        line = line => {
            line??;
            Ok(ExitCode::SUCCESS)
        }
        () = terminated => {
            println!("noticed");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Resolves when this process receives SIGTERM.
#[cfg(unix)]
fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut signal = signal(SignalKind::terminate())?;
    Ok(async move {
        signal.recv().await;
    })
}

/// Never resolves: there are no such signals.
#[cfg(not(unix))]
fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    Ok(std::future::pending())
}

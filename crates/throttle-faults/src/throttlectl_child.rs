//! The command that `throttlectl lock` runs while it holds the lock.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::sync::oneshot;

/// Prints the token that `throttlectl` got, and waits for a line or the end of the input. Whoever is told to
/// end before has been told of a loss.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let token =
        std::env::var("THROTTLE_FENCING_TOKEN").context("THROTTLE_FENCING_TOKEN is not set")?;
    let told_to_end = terminated()?;
    println!("held {token}");
    // In a thread that nobody waits for, for reading cannot be cancelled.
    let (done, line) = oneshot::channel();
    std::thread::spawn(move || done.send(std::io::stdin().read_line(&mut String::new())));
    tokio::select! {
        line = line => {
            line??;
            Ok(ExitCode::SUCCESS)
        }
        () = told_to_end => {
            println!("noticed");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Resolves when the system tells this program to end.
#[cfg(unix)]
fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut signal = signal(SignalKind::terminate())?;
    Ok(async move {
        signal.recv().await;
    })
}

/// There are no signals that tell a program to end.
#[cfg(not(unix))]
fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    Ok(std::future::pending())
}

//! `throttlectl available`: whether locks could be acquired at this moment.

use std::fmt::Write as _;

use anyhow::anyhow;
use throttle_client::Client;

use super::{
    parse, semaphore,
    tables::{SemaphoreOverview, format_span},
    version_0_5,
};
use crate::{
    escape::escape_for_terminal,
    exit_status::{ExitStatus, Failure},
    lock::args::LockRequest,
    output,
};

/// Prints for each semaphore whether its lock would be granted at once. The exit status is
/// [`ExitStatus::NOT_ACQUIRED`] unless all of them would. While a grace period runs, none would.
///
/// Acquires nothing, so others may take the locks right after.
pub(super) async fn run(client: &Client, requests: &[LockRequest]) -> Result<ExitStatus, Failure> {
    let is_old = version_0_5::is_server(client).await?;
    let readiness = if is_old { None } else { client.readiness().await? };
    let grace_left = readiness.and_then(|it| it.grace_left);
    let mut text = String::new();
    let mut status = ExitStatus::SUCCESS;
    for LockRequest { semaphore: name, count } in requests {
        let semaphore: SemaphoreOverview = parse(&semaphore(client, name).await?)?;
        if semaphore.status.retired {
            let error = anyhow!(
                "{name:?} is retired: it is no longer in the configuration of the server, and is granted to nobody"
            );
            return Err(Failure::new(ExitStatus::REFUSED, error));
        }
        let (max, free) = (semaphore.status.max, semaphore.status.remainder);
        if *count > max {
            let error = anyhow!("{name:?}: {count} can never be granted, there are only {max}");
            return Err(Failure::new(ExitStatus::REFUSED, error));
        }
        let waits = has_waiters(&semaphore);
        let fits = i64::try_from(*count).is_ok_and(|count| count <= free);
        let is_free = fits && !waits && grace_left.is_none();
        if !is_free {
            status = ExitStatus::NOT_ACQUIRED;
        }
        let _ = writeln!(
            text,
            "{}: {}, {free} of {max} free{}",
            escape_for_terminal(name),
            if is_free { "could be locked now" } else { "could not be locked now" },
            if waits { ", others wait" } else { "" },
        );
    }
    if let Some(left) = grace_left {
        let _ = writeln!(text, "nothing new is granted for another {}", format_span(left));
    }
    output::print_result(&text)?;
    Ok(status)
}

/// Whether a waiter comes first. Parked waiters, whose connections are broken, are passed over.
fn has_waiters(SemaphoreOverview { status, queue, .. }: &SemaphoreOverview) -> bool {
    match queue {
        Some(queue) => queue.iter().any(|waiter| !waiter.parked),
        None => status.pending > 0,
    }
}

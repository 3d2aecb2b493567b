//! `throttlectl available`: whether locks could be acquired at this moment.

use std::fmt::Write as _;

use anyhow::anyhow;
use throttle_client::Client;

use super::{parse, semaphore, tables::SemaphoreOverview};
use crate::{
    escape::escape_for_terminal,
    exit_status::{ExitStatus, Failure},
    lock::args::LockRequest,
    output,
};

/// Prints for each semaphore whether its lock would be granted at once. The exit status is
/// [`ExitStatus::NOT_ACQUIRED`] unless all of them would.
///
/// Acquires nothing, so others may take the locks right after.
pub(super) async fn run(client: &Client, requests: &[LockRequest]) -> Result<ExitStatus, Failure> {
    let mut text = String::new();
    let mut status = ExitStatus::SUCCESS;
    for LockRequest { semaphore: name, count } in requests {
        let semaphore: SemaphoreOverview = parse(&semaphore(client, name).await?)?;
        let (max, free) = (semaphore.status.max, semaphore.status.remainder);
        if *count > max {
            let error = anyhow!("{name:?}: {count} can never be granted, there are only {max}");
            return Err(Failure::new(ExitStatus::REFUSED, error));
        }
        let waits = has_waiters(&semaphore);
        let is_free = i64::try_from(*count).is_ok_and(|count| count <= free) && !waits;
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

//! Whether locks could be had at this moment.

use std::fmt::Write as _;

use anyhow::anyhow;
use throttle_client::Client;

use super::{parse, semaphore, tables::Details};
use crate::{
    escape::escape_for_terminal,
    exit_status::{ExitStatus, Failure},
    lock::args::RequestedLock,
    output,
};

/// Tells of each semaphore whether its lock would be granted at once, and ends with
/// [`ExitStatus::NOT_ACQUIRED`] unless all of them would.
///
/// It asks for no lock. So it promises nothing: others may come first.
pub(super) async fn run(
    client: &Client,
    requested: &[RequestedLock],
) -> Result<ExitStatus, Failure> {
    let mut text = String::new();
    let mut status = ExitStatus::SUCCESS;
    for RequestedLock { name, count } in requested {
        let semaphore: Details = parse(&semaphore(client, name).await?)?;
        let (max, free) = (semaphore.summary.max, semaphore.summary.remainder);
        if *count > max {
            let error = anyhow!("{name:?}: {count} can never be granted, there are only {max}");
            return Err(Failure::new(ExitStatus::REFUSED, error));
        }
        let waits = has_waiters(&semaphore);
        let is_free = i64::try_from(*count).is_ok_and(|count| count <= free) && !waits;
        if !is_free {
            status = ExitStatus::NOT_ACQUIRED;
        }
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{}: {}, {free} of {max} free{}",
            escape_for_terminal(name),
            if is_free { "could be locked now" } else { "could not be locked now" },
            if waits { ", others wait" } else { "" },
        );
    }
    output::result(&text)?;
    Ok(status)
}

/// Whether somebody waits who comes first. Those whose connection broke hold nobody up.
fn has_waiters(Details { summary, queue, .. }: &Details) -> bool {
    match queue {
        Some(queue) => queue.iter().any(|waiter| !waiter.parked),
        None => summary.pending > 0,
    }
}

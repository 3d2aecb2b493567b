//! `throttlectl status`: version, readiness and sums over all semaphores.

use serde_json::json;
use throttle_client::{Client, Readiness};

use super::{
    parse, semaphores,
    tables::{SemaphoreStatus, format_span},
    text_table::TextTable,
    version_0_5,
};
use crate::{
    args::{OutputFormat, OutputOptions},
    exit_status::{ExitStatus, Failure},
    output,
};

/// Prints the status. A draining server accepts nothing new, so the exit status is that of an unreachable one.
pub(super) async fn run(client: &Client, options: OutputOptions) -> Result<ExitStatus, Failure> {
    let version = client.version().await?;
    let is_old = version_0_5::is_version(&version);
    let readiness = if is_old { Some(WITHOUT_MEMORY) } else { client.readiness().await? };
    let semaphores: Vec<SemaphoreStatus> = parse(&semaphores(client).await?)?;
    let sum = |count: fn(&SemaphoreStatus) -> Option<u64>| {
        semaphores.iter().map(count).sum::<Option<u64>>()
    };
    let (holders, waiters) = (sum(|it| it.holders), sum(|it| it.waiters));
    match options.output {
        OutputFormat::Json => {
            let mut value = json!({
                "version": version, "ready": readiness.is_some(), "semaphores": semaphores.len(),
                "locks_held": holders, "locks_pending": waiters,
            });
            if let Some(Readiness { grace_left, durable, .. }) = readiness {
                value["durable"] = durable.into();
                if let Some(left) = grace_left {
                    value["grace_left"] = humantime::format_duration(left).to_string().into();
                    value["grace_left_seconds"] = left.as_secs_f64().into();
                }
            }
            output::print_result(&format!("{value:#}\n"))?;
        }
        OutputFormat::Table => {
            let number = |sum: Option<u64>| sum.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let mut table = TextTable::new(&[]);
            for (name, value) in [
                ("version", version),
                ("ready", ready(readiness)),
                ("memory", memory(readiness).to_owned()),
                ("semaphores", semaphores.len().to_string()),
                ("locks held", number(holders)),
                ("locks pending", number(waiters)),
            ] {
                table.row([name.to_owned(), value]);
            }
            output::print_result(&table.to_string())?;
        }
    }
    Ok(if readiness.is_some() { ExitStatus::SUCCESS } else { ExitStatus::UNREACHABLE })
}

fn ready(readiness: Option<Readiness>) -> String {
    match readiness {
        None => "no, it shuts down".to_owned(),
        Some(Readiness { grace_left: None, .. }) => "yes".to_owned(),
        Some(Readiness { grace_left: Some(left), .. }) => {
            format!("yes, but nothing new is granted for another {}", format_span(left))
        }
    }
}

fn memory(readiness: Option<Readiness>) -> &'static str {
    match readiness {
        None => "-",
        Some(Readiness { durable: true, .. }) => "survives a crash",
        Some(Readiness { durable: false, .. }) => "does not survive a crash",
    }
}

/// A server that is ready, and forgets everything when it ends.
const WITHOUT_MEMORY: Readiness =
    Readiness { ready: true, grace_left: None, grace_left_seconds: None, durable: false };

//! `throttlectl status`: version, readiness and sums over all semaphores.

use serde_json::json;
use throttle_client::Client;

use super::{parse, semaphores, tables::SemaphoreStatus, text_table::TextTable, version_0_5};
use crate::{
    args::{OutputFormat, OutputOptions},
    exit_status::{ExitStatus, Failure},
    output,
};

/// Prints the status. A draining server accepts nothing new, so the exit status is that of an unreachable one.
pub(super) async fn run(client: &Client, options: OutputOptions) -> Result<ExitStatus, Failure> {
    let version = client.version().await?;
    let is_ready = version_0_5::is_version(&version) || client.ready().await?;
    let semaphores: Vec<SemaphoreStatus> = parse(&semaphores(client).await?)?;
    let sum = |count: fn(&SemaphoreStatus) -> Option<u64>| {
        semaphores.iter().map(count).sum::<Option<u64>>()
    };
    let (holders, waiters) = (sum(|it| it.holders), sum(|it| it.waiters));
    match options.output {
        OutputFormat::Json => {
            let value = json!({
                "version": version, "ready": is_ready, "semaphores": semaphores.len(),
                "locks_held": holders, "locks_pending": waiters,
            });
            output::print_result(&format!("{value:#}\n"))?;
        }
        OutputFormat::Table => {
            let number = |sum: Option<u64>| sum.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let mut table = TextTable::new(&[]);
            for (name, value) in [
                ("version", version),
                ("ready", if is_ready { "yes" } else { "no, it shuts down" }.to_owned()),
                ("semaphores", semaphores.len().to_string()),
                ("locks held", number(holders)),
                ("locks pending", number(waiters)),
            ] {
                table.row([name.to_owned(), value]);
            }
            output::print_result(&table.to_string())?;
        }
    }
    Ok(if is_ready { ExitStatus::SUCCESS } else { ExitStatus::UNREACHABLE })
}

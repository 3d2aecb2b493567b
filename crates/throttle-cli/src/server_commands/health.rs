//! `throttlectl health`: whether the server is alive and ready.

use anyhow::anyhow;
use throttle_client::{Client, Error};

use super::{print_text, version_0_5};
use crate::exit_status::{ExitStatus, Failure};

/// Checks that the server is alive, and ready unless `live`. Requests are not repeated, because the answer is
/// about this moment.
pub(super) async fn run(client: &Client, live: bool) -> Result<ExitStatus, Failure> {
    // A broken server may answer with a refusal. It still counts as unavailable.
    let unavailable =
        |error: Error| Failure { status: ExitStatus::UNREACHABLE, ..Failure::from(error) };
    client.health().await.map_err(unavailable)?;
    if live {
        return print_text("alive\n");
    }
    let is_old = version_0_5::is_server(client).await.map_err(unavailable)?;
    if is_old || client.ready().await.map_err(unavailable)? {
        return print_text("ready\n");
    }
    let error = anyhow!("the server is alive and takes on no work: it shuts down");
    Err(Failure::new(ExitStatus::UNREACHABLE, error))
}

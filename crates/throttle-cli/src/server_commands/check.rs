//! `throttlectl check`: whether the lock with a fencing token is held at this moment.

use anyhow::anyhow;
use throttle_client::{Client, Code, Holder};

use super::{print, tables, version_0_5};
use crate::{
    args::OutputOptions,
    exit_status::{ExitStatus, Failure},
};

/// Prints who holds the lock. The exit status is [`ExitStatus::LOST`] if nobody holds it under this token.
pub(super) async fn run(
    client: &Client,
    name: &str,
    token: u64,
    options: OutputOptions,
) -> Result<ExitStatus, Failure> {
    if version_0_5::is_server(client).await? {
        let error = anyhow!("a server of version 0.5 has no fencing tokens");
        return Err(Failure::new(ExitStatus::REFUSED, error));
    }
    let answer = client.get(&["semaphores", name, "fencing", &token.to_string()]).await;
    let text = answer.map_err(|error| match error.code() {
        Some(Code::NotHeld) => {
            let error = anyhow!("{name:?}: the lock with the token {token} is not held");
            Failure::new(ExitStatus::LOST, error)
        }
        _ => Failure::from(error).context(format!("{name:?}")),
    })?;
    print(options, &text, |it: Holder| tables::holders(&[it]))
}

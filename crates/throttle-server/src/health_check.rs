//! `--check-health`: asks a server whether it is healthy, for container images that have no shell and no curl.

use std::{io::Read as _, time::Duration};

use anyhow::ensure;
use throttle_server::Address;

use crate::http_get::{self, Connection};

/// Asks the server that listens on this address.
pub(crate) fn check(address: &Address) -> anyhow::Result<()> {
    http_get::ask((address, SOCKET_TIMEOUT), "health", ask)
}

fn ask(connection: Connection) -> anyhow::Result<()> {
    let answer = http_get::get(connection, "/health")?;
    let mut body = Vec::new();
    answer.body.take(LONGEST_ANSWER).read_to_end(&mut body)?;
    let (status, body) = (answer.status, String::from_utf8_lossy(&body));
    ensure!(status == 200 && body == "Ok", "{status} {body:?}");
    Ok(())
}

const SOCKET_TIMEOUT: Duration = Duration::from_secs(2);
const LONGEST_ANSWER: u64 = 4096;

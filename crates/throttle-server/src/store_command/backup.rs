//! `throttle store backup`: fetches the export of a running server into a file.

use std::{
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use axum::http::Uri;
use throttle_server::Address;

use crate::http_get::{self, Answer};

/// Writes the export of the server at `url` to `file`. The file has its name only when all of it is on the disk.
pub(super) fn run(url: &str, file: &Path) -> anyhow::Result<()> {
    let (address, prefix) = parse(url)?;
    let path = format!("{prefix}/admin/store/export");
    let Answer { status, mut body } = http_get::ask((&address, TIMEOUT), "backup", |connection| {
        Ok(http_get::get(connection, &path)?)
    })?;
    if status != 200 {
        let mut reason = String::new();
        let _ = body.take(LONGEST_REASON).read_to_string(&mut reason);
        if status == 404 {
            reason += " Is it a server with a store?";
        }
        bail!("{url} answered {status}: {reason}");
    }
    let bytes = throttle_store::replace(file, |to| io::copy(&mut body, to))
        .with_context(|| format!("cannot write {}", file.display()))?;
    super::say(&format!("{} is written: {bytes} bytes\n", file.display()))
}

/// The address of a server and the prefix of its paths.
fn parse(url: &str) -> anyhow::Result<(Address, String)> {
    if url.starts_with("unix:") {
        return Ok((Address::new(url, 0), String::new()));
    }
    let uri = url.parse::<Uri>().with_context(|| format!("{url:?} is no URL"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) => {
            let address = Address::new(host, uri.port_u16().unwrap_or(80));
            Ok((address, uri.path().trim_end_matches('/').to_owned()))
        }
        (Some("https"), _) => bail!(
            "this program does not speak HTTPS: fetch {}/admin/store/export with curl --fail",
            url.trim_end_matches('/')
        ),
        _ => bail!("{url:?} is not like http://127.0.0.1:8000"),
    }
}

/// How long the server may take for each part of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// In bytes.
const LONGEST_REASON: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_and_may_have_a_port_and_a_prefix() {
        let parsed = |url| parse(url).map(|(address, prefix)| format!("{address} {prefix}")).ok();
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(parsed("http://127.0.0.1:8000"), is("127.0.0.1:8000 "));
        assert_eq!(parsed("http://[::1]:8000/"), is("[::1]:8000 "));
        assert_eq!(parsed("http://throttle/locks/"), is("throttle:80 /locks"));
        assert_eq!(parsed("unix:/run/throttle.sock"), is("unix:/run/throttle.sock "));
        for other in ["", "throttle", "127.0.0.1:8000", "ftp://throttle", "http://", "http://a b"] {
            assert_eq!(parsed(other), None, "{other}");
        }
        let https = parse("https://throttle/").unwrap_err().to_string();
        assert!(https.contains("fetch https://throttle/admin/store/export with curl"), "{https}");
    }
}

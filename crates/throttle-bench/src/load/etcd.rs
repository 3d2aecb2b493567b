//! The same operations at etcd, over its JSON gateway.
//!
//! A peer is a lease. A lock is a key that is bound to the lease, and put by a transaction only if nobody has put
//! it before. etcd has no counting semaphores, so each connection has a key of its own: the least that etcd can
//! do for a lock. A heartbeat keeps the lease alive, which etcd does not write to its disk either.

use anyhow::{Context as _, ensure};

use super::Operation;
use crate::http::{Answer, Request};

/// Writes the request for an operation.
pub(super) fn write(operation: Operation, connection: usize, lease: u64, request: &mut Request) {
    // Keys are sent in Base64. Eight digits are valid Base64, so there is nothing to encode.
    let key = format!("{connection:08}");
    match operation {
        Operation::NewPeer => request.post("/v3/lease/grant", r#"{"TTL":43200}"#),
        Operation::Heartbeat => {
            request.post("/v3/lease/keepalive", &format!(r#"{{"ID":"{lease}"}}"#));
        }
        Operation::Acquire(_) | Operation::Queue(_) => {
            let body = format!(
                r#"{{"compare":[{{"key":"{key}","target":"CREATE","createRevision":"0"}}],"success":[{{"requestPut":{{"key":"{key}","value":"0001","lease":"{lease}"}}}}]}}"#
            );
            request.post("/v3/kv/txn", &body);
        }
        Operation::Release(_) => {
            request.post("/v3/kv/deleterange", &format!(r#"{{"key":"{key}"}}"#));
        }
        Operation::RemovePeer => {
            request.post("/v3/lease/revoke", &format!(r#"{{"ID":"{lease}"}}"#));
        }
    }
}

/// Checks that an operation succeeded. Returns the id of a new lease.
pub(super) fn read(operation: Operation, answer: Answer<'_>) -> anyhow::Result<Option<u64>> {
    let text = std::str::from_utf8(answer.expect(&[200])?.body)?;
    let sign = match operation {
        Operation::NewPeer => {
            let id = text.split_once(r#""ID":""#).context("a lease without an id")?.1;
            let digits = id.split_once('"').context("an id without an end")?.0;
            return Ok(Some(digits.parse()?));
        }
        // A lease that is gone has none.
        Operation::Heartbeat => r#""TTL":"43200""#,
        Operation::Acquire(_) => r#""succeeded":true"#,
        Operation::Release(_) => r#""deleted":"1""#,
        Operation::Queue(_) | Operation::RemovePeer => r#""header":"#,
    };
    ensure!(text.contains(sign), "{operation:?} had no effect at etcd: {text}");
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer<'_> {
        Answer { status: 200, body: body.as_bytes() }
    }

    #[test]
    fn a_lock_that_another_has_is_detected() {
        let lock = Operation::Acquire("ample");
        assert!(read(lock, answer(r#"{"header":{},"succeeded":true}"#)).is_ok());
        let error = read(lock, answer(r#"{"header":{"revision":"3"}}"#)).unwrap_err();
        assert!(error.to_string().contains("had no effect"));
    }

    #[test]
    fn a_heartbeat_of_a_lease_that_is_gone_is_detected() {
        assert!(read(Operation::Heartbeat, answer(r#"{"result":{"ID":"7"}}"#)).is_err());
    }

    #[test]
    fn the_id_of_a_lease_is_read() {
        let granted = answer(r#"{"header":{},"ID":"5147792642450464006","TTL":"43200"}"#);
        let id = read(Operation::NewPeer, granted).unwrap();
        assert_eq!(id, Some(5_147_792_642_450_464_006));
    }
}

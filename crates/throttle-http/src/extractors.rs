//! The extractors: parts of requests, read as the types of [`throttle_wire`] and checked against the
//! [`RequestLimits`].

use std::borrow::Cow;

use throttle_runtime::{FencingToken, PeerId, Sequence};
use throttle_wire::{
    Code, Heartbeat, LockCount, LockRequest, MAX_SEQUENCE, NewPeer, Release, Remainder, RemovePeer,
    Restore,
};

use crate::{
    RequestLimits, deserialize,
    json::Value,
    percent,
    refusal::Refusal,
    worker_request::{Captures, FromJson, FromPath, FromQuery, Parameters},
};

/// The peer in a path. `None` is zero: a well-formed id that no peer has.
impl FromPath<'_> for Option<PeerId> {
    fn from_path(captures: Captures<'_>, _: &RequestLimits) -> Result<Self, Refusal> {
        let id = percent::decode_segment(captures.id)?;
        let number = id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok());
        number.flatten().map(PeerId::new).ok_or_else(|| {
            let detail =
                "The path must have the id of a peer, an integer of 64 bits, behind `/peers/`.";
            Refusal::new(Code::MalformedPath, detail)
        })
    }
}

/// The peer and the semaphore in `/peers/{id}/{semaphore}`.
pub(crate) struct LockPath<'a> {
    pub(crate) peer: Option<PeerId>,
    pub(crate) semaphore: Cow<'a, str>,
}

impl<'a> FromPath<'a> for LockPath<'a> {
    fn from_path(captures: Captures<'a>, limits: &RequestLimits) -> Result<Self, Refusal> {
        let semaphore = percent::decode_segment(captures.semaphore)?;
        let peer = FromPath::from_path(captures, limits)?;
        limits.check_name(&semaphore)?;
        Ok(Self { peer, semaphore })
    }
}

/// The semaphore and the token in `/semaphores/{name}/fencing/{token}`.
pub(crate) struct FencingPath<'a> {
    pub(crate) semaphore: Cow<'a, str>,
    /// `None` for an integer that is greater than every token.
    pub(crate) token: Option<FencingToken>,
}

impl<'a> FromPath<'a> for FencingPath<'a> {
    fn from_path(captures: Captures<'a>, limits: &RequestLimits) -> Result<Self, Refusal> {
        let semaphore = percent::decode_segment(captures.semaphore)?;
        let token = percent::decode_segment(captures.token)?;
        if !token.bytes().all(|byte| byte.is_ascii_digit()) {
            let detail = "The path must have a fencing token, an integer, behind `/fencing/`.";
            return Err(Refusal::new(Code::MalformedPath, detail));
        }
        limits.check_name(&semaphore)?;
        Ok(Self { semaphore, token: token.parse().ok().and_then(FencingToken::new) })
    }
}

impl FromQuery for LockRequest {
    fn from_query(parameters: &Parameters<'_>, limits: &RequestLimits) -> Result<Self, Refusal> {
        let request: Self = deserialize::from_query(parameters)?;
        request.expires_in.map_or(Ok(()), |expires_in| limits.check_expires_in(expires_in))?;
        request.block_for.map_or(Ok(()), |block_for| limits.check_block_for(block_for))?;
        Ok(request)
    }
}

impl FromQuery for Release {
    fn from_query(parameters: &Parameters<'_>, _: &RequestLimits) -> Result<Self, Refusal> {
        deserialize::from_query(parameters)
    }
}

impl FromQuery for RemovePeer {
    fn from_query(parameters: &Parameters<'_>, _: &RequestLimits) -> Result<Self, Refusal> {
        deserialize::from_query(parameters)
    }
}

impl FromQuery for Remainder {
    fn from_query(parameters: &Parameters<'_>, limits: &RequestLimits) -> Result<Self, Refusal> {
        let remainder: Self = deserialize::from_query(parameters)?;
        limits.check_name(&remainder.semaphore)?;
        Ok(remainder)
    }
}

impl FromJson for LockCount {
    fn from_json(body: &[u8], _: &RequestLimits) -> Result<Self, Refusal> {
        let subject = "The lock count, which is all of the body,";
        deserialize::from_value(Value::parse(body)?, subject)
    }
}

impl FromJson for NewPeer {
    fn from_json(body: &[u8], limits: &RequestLimits) -> Result<Self, Refusal> {
        let new_peer: Self = deserialize::from_body(body)?;
        limits.check_expires_in(new_peer.expires_in)?;
        limits.check_labels(&new_peer.labels)?;
        Ok(new_peer)
    }
}

impl FromJson for Heartbeat {
    fn from_json(body: &[u8], limits: &RequestLimits) -> Result<Self, Refusal> {
        let heartbeat: Self = deserialize::from_body(body)?;
        limits.check_expires_in(heartbeat.expires_in)?;
        Ok(heartbeat)
    }
}

impl FromJson for Restore {
    fn from_json(body: &[u8], limits: &RequestLimits) -> Result<Self, Refusal> {
        let restore: Self = deserialize::from_body(body)?;
        limits.check_expires_in(restore.expires_in)?;
        restore.acquired.keys().try_for_each(|name| limits.check_name(name))?;
        limits.check_labels(&restore.labels)?;
        Ok(restore)
    }
}

const _: () =
    assert!(MAX_SEQUENCE == Sequence::MAX.get(), "every sequence that is read is a Sequence");

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Debug, time::Duration};

    use serde::Serialize;

    use super::*;

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let (expires_in, block_for) = (Duration::from_secs(300), Duration::from_millis(1_500));
        let labels = || BTreeMap::from([("host".to_owned(), "\"7\" \u{2602}".to_owned())]);
        for labels in [labels(), BTreeMap::new()] {
            body(&NewPeer { expires_in, labels });
        }
        body(&Heartbeat { expires_in });
        for count in [1, -1, i64::MAX, i64::MIN] {
            body(&LockCount(count));
        }
        for (expires_in, block_for) in [(None, None), (Some(expires_in), Some(block_for))] {
            for sequence in [None, Some(0), Some(MAX_SEQUENCE)] {
                query(&LockRequest { expires_in, block_for, sequence });
            }
        }
        for sequence in [None, Some(7)] {
            query(&Release { sequence });
            query(&RemovePeer { sequence });
            let acquired = BTreeMap::from([("A".to_owned(), 3), ("\u{2602}/&\"".to_owned(), 1)]);
            body(&Restore { expires_in, peer_id: u64::MAX, acquired, labels: labels(), sequence });
        }
        for semaphore in ["A", "a+b", "/&=%\"\u{2602}\n", ""] {
            query(&Remainder { semaphore: semaphore.to_owned() });
        }
    }

    #[track_caller]
    fn body<T: FromJson + Serialize + Debug + PartialEq>(written: &T) {
        let json = serde_json::to_vec(written).unwrap();
        assert_eq!(T::from_json(&json, &RequestLimits::default()).unwrap(), *written);
    }

    #[track_caller]
    fn query<T: FromQuery + Serialize + Debug + PartialEq>(written: &T) {
        let query = serde_urlencoded::to_string(written).unwrap();
        let parameters = Parameters::parse(&query).unwrap();
        assert_eq!(T::from_query(&parameters, &RequestLimits::default()).unwrap(), *written);
    }
}

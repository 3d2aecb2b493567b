//! Writes the queries of requests from the types of [`throttle_wire`].

use reqwest::Url;
use serde::Serialize;

/// Adds the fields of `query` to the query of a URL.
pub(crate) fn append_query(url: &mut Url, query: &impl Serialize) {
    query
        .serialize(serde_urlencoded::Serializer::new(&mut url.query_pairs_mut()))
        .expect("the fields of a query are numbers and strings");
    // Without fields an empty query remains.
    if url.query() == Some("") {
        url.set_query(None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use throttle_wire::{LockRequest, Release, Remainder};

    use super::*;

    #[test]
    fn fields_are_appended_and_absent_ones_leave_no_trace() {
        let mut url: Url = "http://a/peers/1/A".parse().unwrap();
        append_query(&mut url, &Release::default());
        assert_eq!(url.as_str(), "http://a/peers/1/A");
        append_query(&mut url, &Release { sequence: Some(7) });
        let block_for = Some(Duration::from_millis(61_500));
        append_query(&mut url, &LockRequest { block_for, ..LockRequest::default() });
        assert_eq!(url.as_str(), "http://a/peers/1/A?sequence=7&block_for=1m+1s+500ms");
        let mut url: Url = "http://a/remainder".parse().unwrap();
        append_query(&mut url, &Remainder { semaphore: "/& +".to_owned() });
        assert_eq!(url.as_str(), "http://a/remainder?semaphore=%2F%26+%2B");
    }
}

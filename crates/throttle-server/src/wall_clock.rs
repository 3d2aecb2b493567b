//! The wall clock, for metrics, files and people. No lease depends on it.

use std::time::{SystemTime, UNIX_EPOCH};

use throttle_runtime::UnixTime;

/// The present. A clock before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "for people; no lease depends on it")]
pub fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

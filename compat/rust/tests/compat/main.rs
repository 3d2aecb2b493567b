//! Tests each method of the crate `throttle-client` 0.5.13 against the server that the environment
//! variable `THROTTLE_BIN` names.
//!
//! Any version of the server passes, except for the modules `repaired`: they are about defects of the
//! server 0.5.13 that its clients notice.

mod leases;
mod locks;
mod refusals;
mod restore;
mod server;

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// Anything that takes longer never happens.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

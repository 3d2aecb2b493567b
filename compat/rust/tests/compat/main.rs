//! Version 0.5.13 of the crate `throttle-client`, each of its methods, against the server that the
//! environment variable `THROTTLE_BIN` names.
//!
//! Any version of the server will do, except in the modules called `repaired`: they are about what
//! 0.5.13 does wrong in the sight of its clients.

mod leases;
mod locks;
mod refusals;
mod restore;
mod server;

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// Nothing takes that long unless it never happens.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

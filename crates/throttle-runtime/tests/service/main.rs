//! Tests of what the runtime adds to the state machine.

mod draining;
mod failures;
mod grace_period;
mod inspection;
mod lifetime;
#[expect(clippy::allow_attributes, reason = "other tests use what these do not")]
#[allow(dead_code, reason = "other tests use what these do not")]
#[path = "../memory_store/mod.rs"]
mod memory_store;
mod open_waits;
mod random_operations;
mod reconfiguration;
mod recovery;
mod stalls;
mod store_thread;
mod support;
mod waking;

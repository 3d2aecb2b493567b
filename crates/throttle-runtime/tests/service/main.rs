//! Tests of what the runtime adds to the state machine.

mod draining;
mod failures;
mod inspection;
mod lifetime;
mod open_waits;
mod random_operations;
mod reconfiguration;
mod stalls;
mod support;
mod waking;

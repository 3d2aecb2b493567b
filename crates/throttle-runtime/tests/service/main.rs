//! Tests of what the runtime adds to the state machine.

mod failures;
mod lives;
mod open_waits;
mod operations;
mod stalls;
mod support;

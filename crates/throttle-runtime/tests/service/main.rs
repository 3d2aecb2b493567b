//! What the runtime adds to the state machine.

mod failures;
mod operations;
mod stalls;
mod support;

//! What the runtime adds to the state machine.

mod operations;
mod stalls;
mod support;

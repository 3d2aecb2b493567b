//! What the Python package `throttle_client` does outside of the interpreter: requests, and signs of
//! life that go on whatever Python does.
//!
//! All of it runs on one tokio runtime for each process (`world`). The rest of the package, with the
//! interface that its users know, is Python, in `python/throttle_client`.

mod errors;
mod gate;
mod keeper;
mod requests;
mod world;

use pyo3::prelude::*;

/// The part of `throttle_client` that is written in Rust.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::gate::{after_fork, close};
    #[pymodule_export]
    use crate::keeper::Keeper;
    #[pymodule_export]
    use crate::requests::{Client, Request};
}

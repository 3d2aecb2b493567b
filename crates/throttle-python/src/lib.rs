//! The native half of the Python package `throttle_client`: requests, waits, and heartbeats that continue
//! whatever Python does.
//!
//! Everything that takes time is an `operation`: a future on the tokio runtime of the `process`, which wakes
//! Python by a byte in a socket, the `wakeup`, when it ends. No thread of this library ever enters the
//! interpreter, and no Python code runs while a mutex of this library is locked. The public interface is
//! written in Python, in `python/throttle_client`.

mod at_exit;
mod client;
mod errors;
mod fork;
mod log;
mod open_peer;
mod operation;
mod peer;
mod process;
mod test_server;
mod wakeup;

use pyo3::prelude::*;

/// The native module of `throttle_client`.
///
/// It relies on the lock of the interpreter (GIL), so importing it turns the lock on in a free-threaded
/// interpreter.
#[pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use crate::at_exit::close_peers;
    #[pymodule_export]
    use crate::client::Client;
    #[pymodule_export]
    use crate::fork::{after_fork_in_child, after_fork_in_parent, before_fork};
    #[pymodule_export]
    use crate::log::{forward_log, take_log};
    #[pymodule_export]
    use crate::operation::Operation;
    #[pymodule_export]
    use crate::peer::{Lock, Peer, process_labels};
    #[pymodule_export]
    use crate::test_server::TestServer;
    #[pymodule_export]
    use crate::wakeup::{Wakeup, wakeup_pair};

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("VERSION", env!("CARGO_PKG_VERSION"))
    }
}

//! One runtime and one HTTP client for each process and URL.
//!
//! After a fork the child has the memory of its parent, but none of its threads, and must not touch its
//! connections. So everything here belongs to the process that made it, and a child that finds it makes
//! its own and leaves the other where it is. The mutex is locked with the interpreter's lock held only,
//! as are forks, so no child inherits it locked.

use std::{collections::HashMap, mem, process, sync::Mutex, time::Duration};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use throttle_client::{Client, RetryPolicy};
use tokio::runtime::{Builder, Handle, Runtime};

static WORLD: Mutex<Option<World>> = Mutex::new(None);

struct World {
    process: u32,
    runtime: Runtime,
    clients: HashMap<String, Client>,
}

/// The runtime of this process.
pub(crate) fn runtime(_: Python<'_>) -> PyResult<Handle> {
    with(|world| Ok(world.runtime.handle().clone()))
}

/// The client of this process for a server.
pub(crate) fn client(py: Python<'_>, url: &str) -> PyResult<Client> {
    with(|world| {
        if let Some(client) = world.clients.get(url) {
            return Ok(client.clone());
        }
        let client = Client::builder(url).retry(PATIENT).build();
        let client = client.map_err(|error| crate::errors::exception(py, &error))?;
        world.clients.insert(url.to_owned(), client.clone());
        Ok(client)
    })
}

fn with<T>(act: impl FnOnce(&mut World) -> PyResult<T>) -> PyResult<T> {
    let mut world = WORLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(parents) = world.take_if(|world| world.process != process::id()) {
        // To drop it would wait for threads that are not there.
        mem::forget(parents);
    }
    if world.is_none() {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("throttle-client").enable_all();
        let runtime =
            builder.build().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        *world = Some(World { process: process::id(), runtime, clients: HashMap::new() });
    }
    act(world.as_mut().expect("it was made just now"))
}

/// Gets over a server that is away for a minute, as the package always has.
const PATIENT: RetryPolicy = RetryPolicy {
    attempts: 60,
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(2),
    budget: Duration::from_secs(60),
};

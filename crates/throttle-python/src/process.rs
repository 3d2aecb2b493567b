//! What belongs to one process: a runtime, one HTTP client for each server, and the peers that are open.
//!
//! A child that is forked has the memory of its parent, but none of its threads, and must not touch its
//! connections. So everything here belongs to the process that made it; a child that finds it leaves it
//! where it is and makes its own. The mutex of the static is locked only with the lock of the interpreter
//! held, as forks are, so no child inherits it locked; and nothing of Python is done while it is locked.

use std::{
    collections::HashMap,
    mem, panic, process,
    sync::{Arc, Mutex, PoisonError},
};

use pyo3::prelude::*;
use throttle_client::{Client, Error, Peer};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::JoinHandle,
    time,
};

use crate::{client::Settings, fork, log::Log, operation::seconds, peer::Peer as PyPeer};

static PROCESS: Mutex<Option<Arc<Process>>> = Mutex::new(None);

/// The runtime of a process and what runs on it.
pub(crate) struct Process {
    id: u32,
    runtime: Runtime,
    clients: Mutex<HashMap<Settings, Client>>,
    building: tokio::sync::Mutex<()>,
    /// How many peers are on their way out.
    closing: watch::Sender<usize>,
    pub(crate) log: Arc<Log>,
}

impl Process {
    /// That of this process, which is made if there is none.
    pub(crate) fn current(_: Python<'_>) -> std::io::Result<Arc<Self>> {
        let mut current = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parents) = current.take_if(|it| it.id != process::id()) {
            // To drop it would wait for threads that are not there.
            mem::forget(parents);
        }
        if let Some(process) = &*current {
            return Ok(Arc::clone(process));
        }
        let log = Arc::new(Log::new());
        let dispatch = log.dispatch();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            // For names of servers and certificates. Many waits at once need not look one up each.
            .max_blocking_threads(MOST_BLOCKING_THREADS)
            .thread_name("throttle-client")
            .enable_all()
            .on_thread_start(move || {
                // It stays until the thread ends.
                mem::forget(tracing::dispatcher::set_default(&dispatch));
            })
            .build()?;
        let process = Arc::new(Self {
            id: process::id(),
            runtime,
            clients: Mutex::default(),
            building: tokio::sync::Mutex::default(),
            closing: watch::Sender::new(0),
            log,
        });
        *current = Some(Arc::clone(&process));
        Ok(process)
    }

    /// That of this process, if there is one.
    pub(crate) fn existing() -> Option<Arc<Self>> {
        let process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        process.filter(|it| it.id == process::id())
    }

    pub(crate) fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// The client for a server, which all that have the same settings share.
    pub(crate) async fn client(&self, settings: Settings) -> Result<Client, Error> {
        if let Some(client) = self.built_client(&settings) {
            return Ok(client);
        }
        let _building = self.building.lock().await;
        if let Some(client) = self.built_client(&settings) {
            return Ok(client);
        }
        let build = {
            let settings = settings.clone();
            self.runtime.spawn_blocking(move || {
                let _unforked = fork::exclude();
                settings.build()
            })
        };
        let client = match build.await {
            Ok(client) => client?,
            Err(error) => panic::resume_unwind(error.into_panic()),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.insert(settings, client.clone());
        Ok(client)
    }

    /// The client for a server, if it was built already.
    pub(crate) fn built_client(&self, settings: &Settings) -> Option<Client> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(settings).cloned()
    }

    /// From now on `peer` is closed when nobody has it any more.
    pub(crate) fn open(self: &Arc<Self>, peer: Peer) -> Arc<OpenPeer> {
        Arc::new(OpenPeer { peer: Mutex::new(Some(peer)), process: Arc::clone(self) })
    }

    /// Removes a peer from the server, in the background.
    fn close(self: &Arc<Self>, peer: Peer) -> JoinHandle<()> {
        let closing = self.closing();
        self.runtime.spawn(async move {
            peer.close().await;
            drop(closing);
        })
    }

    /// Counts something that has to be told to a server before the process ends, until it is dropped.
    pub(crate) fn closing(self: &Arc<Self>) -> Closing {
        self.closing.send_modify(|closing| *closing += 1);
        Closing(Arc::clone(self))
    }
}

/// A peer that is removed from the server when this is dropped, unless that has been done.
pub(crate) struct OpenPeer {
    peer: Mutex<Option<Peer>>,
    process: Arc<Process>,
}

impl OpenPeer {
    /// The peer, unless it is closed, or belongs to the parent of this process.
    pub(crate) fn get(&self) -> Option<Peer> {
        if self.is_foreign() {
            return None;
        }
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The peer, which from now on is closed for everybody else.
    pub(crate) fn take(&self) -> Option<Peer> {
        if self.is_foreign() {
            return None;
        }
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Begins to remove the peer from the server, unless that has been done.
    pub(crate) fn close(&self) -> Option<JoinHandle<()>> {
        Some(self.process.close(self.take()?))
    }

    /// Whether the peer belongs to the parent of this process.
    pub(crate) fn is_foreign(&self) -> bool {
        self.process.id != process::id()
    }

    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.process
    }
}

impl Drop for OpenPeer {
    fn drop(&mut self) {
        if self.is_foreign() {
            // Threads that are not there may have its locks, so it must not even be dropped.
            if let Ok(peer) = self.peer.get_mut() {
                mem::forget(peer.take());
            }
        } else if let Some(peer) = self.take() {
            drop(self.process.close(peer));
        }
    }
}

/// Something that has to be told to a server before the process ends.
pub(crate) struct Closing(Arc<Process>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closing.send_modify(|closing| *closing -= 1);
    }
}

/// Removes peers from their servers, all at once, and returns when that and all that was begun before is done,
/// after `patience` seconds at the latest.
///
/// When the main interpreter has ended already, no other thread may run meanwhile, for this one would not be
/// let in again.
#[pyfunction]
pub(crate) fn farewell(
    py: Python<'_>,
    peers: Vec<Py<PyPeer>>,
    patience: f64,
    lets_others_run: bool,
) {
    let Some(process) = Process::existing() else { return };
    for peer in peers.iter().filter_map(|peer| peer.get().opened().take()) {
        drop(process.close(peer));
    }
    let mut closing = process.closing.subscribe();
    let closed = async move {
        let closed = closing.wait_for(|&closing| closing == 0);
        let _ = time::timeout(seconds(patience), closed).await;
    };
    if lets_others_run {
        py.detach(|| process.runtime.block_on(closed));
    } else {
        process.runtime.block_on(closed);
    }
}

/// A slow lookup of one name must not hold up that of another.
const MOST_BLOCKING_THREADS: usize = 8;

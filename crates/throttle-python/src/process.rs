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
};

use crate::{client::Settings, fork, log::Log};

static PROCESS: Mutex<Option<Arc<Process>>> = Mutex::new(None);

/// The runtime of a process and what runs on it.
pub(crate) struct Process {
    id: u32,
    runtime: Runtime,
    clients: Mutex<HashMap<Settings, Client>>,
    building: tokio::sync::Mutex<()>,
    /// How many peers are on their way out.
    unfinished_releases: watch::Sender<usize>,
    pub(crate) log: Arc<Log>,
}

impl Process {
    /// That of this process, which is made if there is none.
    pub(crate) fn current(_: Python<'_>) -> std::io::Result<Arc<Self>> {
        let mut current = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parents) = current.take_if(|found| found.id != process::id()) {
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
            .max_blocking_threads(MAX_BLOCKING_THREADS)
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
            unfinished_releases: watch::Sender::new(0),
            log,
        });
        *current = Some(Arc::clone(&process));
        Ok(process)
    }

    /// That of this process, if there is one.
    pub(crate) fn existing() -> Option<Arc<Self>> {
        let process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        process.filter(|found| found.id == process::id())
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
                let _fork_lock = fork::hold_off_forks();
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
    pub(crate) fn close_on_drop(self: &Arc<Self>, peer: Peer) -> Arc<OpenPeer> {
        Arc::new(OpenPeer { peer: Mutex::new(Some(peer)), process: Arc::clone(self) })
    }

    /// Removes a peer from the server, in the background.
    pub(crate) fn close_in_background(self: &Arc<Self>, peer: Peer) -> JoinHandle<()> {
        let unfinished = self.count_unfinished_release();
        self.runtime.spawn(async move {
            peer.close().await;
            drop(unfinished);
        })
    }

    /// Counts something that has to be told to a server before the process ends, until it is dropped.
    pub(crate) fn count_unfinished_release(self: &Arc<Self>) -> UnfinishedRelease {
        self.unfinished_releases.send_modify(|count| *count += 1);
        UnfinishedRelease(Arc::clone(self))
    }

    /// Resolves when no release is unfinished.
    pub(crate) fn releases_finished(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut unfinished = self.unfinished_releases.subscribe();
        async move {
            // It fails if the process is gone, and its releases with it.
            let _gone = unfinished.wait_for(|&count| count == 0).await;
        }
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
        if self.belongs_to_parent() {
            return None;
        }
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The peer, which from now on is closed for everybody else.
    pub(crate) fn take(&self) -> Option<Peer> {
        if self.belongs_to_parent() {
            return None;
        }
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Begins to remove the peer from the server, unless that has been done.
    pub(crate) fn close(&self) -> Option<JoinHandle<()>> {
        Some(self.process.close_in_background(self.take()?))
    }

    /// Whether the peer belongs to the parent of this process.
    pub(crate) fn belongs_to_parent(&self) -> bool {
        self.process.id != process::id()
    }

    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.process
    }
}

impl Drop for OpenPeer {
    fn drop(&mut self) {
        if self.belongs_to_parent() {
            // Threads that are not there may have its locks, so it must not even be dropped.
            if let Ok(peer) = self.peer.get_mut() {
                mem::forget(peer.take());
            }
        } else if let Some(peer) = self.take() {
            drop(self.process.close_in_background(peer));
        }
    }
}

/// Something that has to be told to a server before the process ends.
pub(crate) struct UnfinishedRelease(Arc<Process>);

impl Drop for UnfinishedRelease {
    fn drop(&mut self) {
        self.0.unfinished_releases.send_modify(|count| *count -= 1);
    }
}

/// A slow lookup of one name must not hold up that of another.
const MAX_BLOCKING_THREADS: usize = 8;

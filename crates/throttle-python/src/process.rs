//! The native state of one process: its runtime, one HTTP client for each server, and the open peers.
//!
//! A forked child has a copy of its parent's memory, but none of its threads, and must not touch its
//! connections. So all of this belongs to the process that made it: a child leaks what it has inherited, and
//! makes its own. Only threads that hold the lock of the interpreter lock the mutex of the static. A thread that
//! forks holds the lock of the interpreter too, so no child inherits the mutex locked. No Python code runs while
//! it is locked.

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

use crate::{client::Settings, fork, log::Log, open_peer::OpenPeer};

static PROCESS: Mutex<Option<Arc<ProcessState>>> = Mutex::new(None);

/// The runtime of one process, and the state of everything that runs on it.
pub(crate) struct ProcessState {
    id: u32,
    runtime: Runtime,
    clients: Mutex<HashMap<Settings, Client>>,
    building: tokio::sync::Mutex<()>,
    /// The number of releases and removals that the server has not confirmed yet.
    unfinished_releases: watch::Sender<usize>,
    pub(crate) log: Arc<Log>,
}

impl ProcessState {
    /// The state of this process. Makes it if there is none.
    pub(crate) fn current(_: Python<'_>) -> std::io::Result<Arc<Self>> {
        let mut current = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parents) = current.take_if(|found| found.id != process::id()) {
            // Dropping it would wait for threads that do not exist here.
            mem::forget(parents);
        }
        if let Some(process) = &*current {
            return Ok(Arc::clone(process));
        }
        let log = Arc::new(Log::new());
        let dispatch = log.dispatch();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            // For DNS lookups and certificates.
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .thread_name("throttle-client")
            .enable_all()
            .on_thread_start(move || {
                // The dispatcher stays set until the thread ends.
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

    /// The state of this process, if there is one.
    pub(crate) fn existing() -> Option<Arc<Self>> {
        let process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        process.filter(|found| found.id == process::id())
    }

    /// Whether it belongs to the parent of this process.
    pub(crate) fn belongs_to_parent(&self) -> bool {
        self.id != process::id()
    }

    pub(crate) fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// The client with these settings, which all users of the same settings share. Builds it if there is none.
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

    /// The client with these settings, if it is built already.
    pub(crate) fn built_client(&self, settings: &Settings) -> Option<Client> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(settings).cloned()
    }

    /// Wraps a peer so that it is closed when the last reference is dropped.
    pub(crate) fn close_on_drop(self: &Arc<Self>, peer: Peer) -> Arc<OpenPeer> {
        Arc::new(OpenPeer::new(peer, Arc::clone(self)))
    }

    /// Removes a peer from the server, in the background.
    pub(crate) fn close_in_background(self: &Arc<Self>, peer: Peer) -> JoinHandle<()> {
        let unfinished = self.count_unfinished_release();
        self.runtime.spawn(async move {
            peer.close().await;
            drop(unfinished);
        })
    }

    /// Counts a release as unfinished until the returned guard is dropped.
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

/// A release or removal that should be confirmed before the process ends. Counted until it is dropped.
pub(crate) struct UnfinishedRelease(Arc<ProcessState>);

impl Drop for UnfinishedRelease {
    fn drop(&mut self) {
        self.0.unfinished_releases.send_modify(|count| *count -= 1);
    }
}

/// More than one, so that a slow DNS lookup does not delay the others.
const MAX_BLOCKING_THREADS: usize = 8;

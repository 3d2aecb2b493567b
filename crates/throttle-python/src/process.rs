//! What belongs to one process: a runtime, one HTTP client for each server, and the peers that are open.
//!
//! A child that is forked has the memory of its parent, but none of its threads, and must not touch its
//! connections. So everything here belongs to the process that made it; a child that finds it leaves it
//! where it is and makes its own. The mutex of the static is locked only with the lock of the interpreter
//! held, as forks are, so no child inherits it locked; and nothing of Python is done while it is locked.

use std::{
    collections::HashMap,
    mem, process,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use pyo3::prelude::*;
use throttle_client::{Client, Error, Peer};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::JoinHandle,
    time,
};

use crate::{client::Settings, log::Log, operation::seconds};

static PROCESS: Mutex<Option<Arc<Process>>> = Mutex::new(None);

/// The runtime of a process and what runs on it.
pub(crate) struct Process {
    id: u32,
    runtime: Runtime,
    clients: Mutex<HashMap<Settings, Client>>,
    peers: Mutex<Vec<Weak<OpenPeer>>>,
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
            peers: Mutex::default(),
            closing: watch::Sender::new(0),
            log,
        });
        *current = Some(Arc::clone(&process));
        Ok(process)
    }

    pub(crate) fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// The client for a server, which all that have the same settings share.
    pub(crate) fn client(&self, settings: &Settings) -> Result<Client, Error> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(settings) {
            return Ok(client.clone());
        }
        let client = settings.build()?;
        clients.insert(settings.clone(), client.clone());
        Ok(client)
    }

    /// From now on `peer` is closed when nobody has it any more, or when the interpreter ends.
    pub(crate) fn open(self: &Arc<Self>, peer: Peer) -> Arc<OpenPeer> {
        let opened = OpenPeer { peer: Mutex::new(Some(peer)), process: Arc::clone(self) };
        let opened = Arc::new(opened);
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() == peers.capacity() {
            // Before the list grows, those that are gone leave it.
            peers.retain(|peer| peer.strong_count() > 0);
        }
        peers.push(Arc::downgrade(&opened));
        opened
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

    /// Removes the peer from the server, and returns when that is done. It goes on if this is dropped.
    pub(crate) async fn close(&self) {
        if let Some(peer) = self.take() {
            let _ = self.process.close(peer).await;
        }
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

/// Removes all peers of this process from their servers, all at once, and returns when that is done, after
/// `patience` seconds at the latest.
#[pyfunction]
pub(crate) fn farewell(py: Python<'_>, patience: f64) {
    let process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(process) = process.filter(|it| it.id == process::id()) else { return };
    let peers = mem::take(&mut *process.peers.lock().unwrap_or_else(PoisonError::into_inner));
    for peer in peers.iter().filter_map(Weak::upgrade).filter_map(|peer| peer.take()) {
        drop(process.close(peer));
    }
    let mut closing = process.closing.subscribe();
    py.detach(|| {
        process.runtime.block_on(async {
            let closed = closing.wait_for(|&closing| closing == 0);
            let _ = time::timeout(seconds(patience), closed).await;
        });
    });
}

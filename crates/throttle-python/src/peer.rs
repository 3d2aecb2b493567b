//! Python objects for peers and for held locks, which the native client keeps alive.

use std::{
    collections::BTreeMap,
    future, mem,
    sync::{Arc, Mutex, PoisonError},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use throttle_client::{Error, Labels, LockError, Lost};
use tokio::time;

use crate::{
    client::Client,
    errors::{self, PeerUnavailable},
    open_peer::OpenPeer,
    operation::{IntoException as _, Operation, seconds},
    process::ProcessState,
};

/// The default labels of the peers of this process: host, user, process and program.
#[pyfunction]
pub(crate) fn process_labels() -> Labels {
    throttle_client::process_labels()
}

/// A peer. It is removed from the server when the last reference is dropped.
#[pyclass(frozen, module = "throttle_client._native")]
pub(crate) struct Peer {
    peer: Arc<OpenPeer>,
}

#[pymethods]
impl Peer {
    /// The client must be prepared. Spans are in seconds. `resumed` is an existing peer: its id, and the counts
    /// that it holds.
    #[new]
    #[pyo3(signature = (
        client, lease, interval=None, labels=BTreeMap::new(), default_labels=BTreeMap::new(),
        heartbeat=true, resumed=None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "one place in Python calls it")]
    fn new(
        py: Python<'_>,
        client: &Client,
        lease: f64,
        interval: Option<f64>,
        labels: BTreeMap<String, String>,
        default_labels: BTreeMap<String, String>,
        heartbeat: bool,
        resumed: Option<(u64, BTreeMap<String, u64>)>,
    ) -> PyResult<Self> {
        let process = ProcessState::current(py)?;
        let client = process.built_client(&client.for_peers());
        let client = client
            .ok_or_else(|| PyRuntimeError::new_err("the client has to be prepared before"))?;
        let mut builder = throttle_client::Peer::builder(&client)
            .lease(seconds(lease))
            .heartbeat(heartbeat)
            .default_labels(default_labels.into_iter().collect())
            .labels(labels);
        if let Some(interval) = interval {
            builder = builder.heartbeat_every(seconds(interval));
        }
        if let Some((id, held)) = resumed {
            builder = builder.resume(id, held);
        }
        let runtime = process.runtime();
        let _runtime = runtime.enter();
        Ok(Self { peer: process.close_on_drop(builder.build()) })
    }

    /// The id of the peer at the server, if it is registered.
    #[getter]
    fn id(&self) -> Option<u64> {
        self.peer.get()?.id()
    }

    /// The number of seconds for which its locks are held for sure, even if all further heartbeats fail.
    fn time_left(&self) -> f64 {
        self.peer.get().map_or(0.0, |peer| peer.time_left().as_secs_f64())
    }

    /// The reason of the loss, if the peer is lost: a name for programs, and a sentence for people.
    fn lost(&self) -> Option<(&'static str, String)> {
        if self.peer.belongs_to_parent() {
            return Some(errors::held_by_parent());
        }
        self.peer.get()?.check().err().map(errors::describe_loss)
    }

    /// Waits until the peer is lost, at most `timeout` seconds. The result is that of `lost`.
    #[pyo3(signature = (timeout=None))]
    fn wait_lost(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Operation> {
        let peer = self.peer.get().ok_or_else(|| PeerUnavailable.into_exception(py))?;
        Ok(wait_lost(&self.peer, peer.lost(), timeout))
    }

    /// Waits for a lock, at most `timeout` seconds if there is a timeout.
    #[pyo3(signature = (semaphore, count, timeout=None))]
    fn lock(
        &self,
        py: Python<'_>,
        semaphore: String,
        count: i64,
        timeout: Option<f64>,
    ) -> PyResult<Operation> {
        let peer = self.peer.get().ok_or_else(|| PeerUnavailable.into_exception(py))?;
        let open_peer = Arc::clone(&self.peer);
        // The server refuses 0, with its own message.
        let count = u64::try_from(count).unwrap_or(0);
        let future = async move {
            let request = peer.lock(semaphore).count(count);
            let request = match timeout {
                Some(timeout) => request.wait_at_most(seconds(timeout)),
                None => request,
            };
            let lock = request.await?;
            Ok::<_, LockError>(Lock::new(lock, open_peer))
        };
        Ok(Operation::new(self.peer.process().runtime(), future))
    }

    /// Sends a heartbeat now, and restores the peer if the server does not know it any more.
    ///
    /// The result is the reason of the loss, if the peer is lost.
    fn renew(&self, py: Python<'_>) -> PyResult<Operation> {
        let peer = self.peer.get().ok_or_else(|| PeerUnavailable.into_exception(py))?;
        let future =
            async move { Ok::<_, Error>(peer.renew().await.err().map(errors::describe_loss)) };
        Ok(Operation::new(self.peer.process().runtime(), future))
    }

    /// Removes the peer from the server. The removal begins now, even if the operation is never started. The
    /// operation ends when it is done, after `timeout` seconds at the latest; then it continues in the
    /// background.
    fn close(&self, timeout: f64) -> Operation {
        let closing = self.peer.close();
        Operation::new(self.peer.process().runtime(), async move {
            if let Some(closing) = closing {
                let _ = time::timeout(seconds(timeout), closing).await;
            }
            Ok::<_, Error>(())
        })
    }

    /// Stops the heartbeats, and ends when none is under way any more. The peer stays at the server until its
    /// lease ends.
    fn stop_heartbeat(&self, py: Python<'_>) -> PyResult<Operation> {
        let peer = self.peer.take().ok_or_else(|| PeerUnavailable.into_exception(py))?;
        let future = async move {
            peer.stop_heartbeat().await;
            Ok::<_, Error>(())
        };
        Ok(Operation::new(self.peer.process().runtime(), future))
    }
}

impl Peer {
    pub(crate) fn open_peer(&self) -> &OpenPeer {
        &self.peer
    }
}

/// A held lock. It is released in the background when the last reference is dropped.
#[pyclass(frozen, module = "throttle_client._native")]
pub(crate) struct Lock {
    /// `None` once it is released.
    lock: Mutex<Option<throttle_client::Lock>>,
    peer: Arc<OpenPeer>,
    #[pyo3(get)]
    fencing_token: Option<u64>,
    #[pyo3(get)]
    peer_id: u64,
}

impl Lock {
    fn new(lock: throttle_client::Lock, peer: Arc<OpenPeer>) -> Self {
        let (fencing_token, peer_id) = (lock.fencing_token(), lock.peer_id());
        Self { lock: Mutex::new(Some(lock)), peer, fencing_token, peer_id }
    }

    /// Calls `act` with the lock, unless it is released or belongs to the parent of this process.
    fn with<T>(&self, act: impl FnOnce(&throttle_client::Lock) -> T) -> Option<T> {
        if self.peer.belongs_to_parent() {
            return None;
        }
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(act)
    }
}

#[pymethods]
impl Lock {
    /// The number of seconds for which the lock is held for sure, even if all further heartbeats fail.
    fn time_left(&self) -> f64 {
        self.with(|lock| lock.time_left().as_secs_f64()).unwrap_or(0.0)
    }

    /// The reason of the loss, if the lock is lost: a name for programs, and a sentence for people.
    fn lost(&self) -> Option<(&'static str, String)> {
        if self.peer.belongs_to_parent() {
            return Some(errors::held_by_parent());
        }
        self.with(|lock| lock.check().err()).flatten().map(errors::describe_loss)
    }

    /// Waits until the lock is lost, at most `timeout` seconds. The result is that of `lost`. For a released
    /// lock the reason is `closed`.
    #[pyo3(signature = (timeout=None))]
    fn wait_lost(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Operation> {
        if self.peer.belongs_to_parent() {
            return Err(PeerUnavailable.into_exception(py));
        }
        Ok(match self.with(throttle_client::Lock::lost) {
            Some(lost) => wait_lost(&self.peer, lost, timeout),
            None => wait_lost(&self.peer, future::ready(Lost::Closed), timeout),
        })
    }

    /// Releases the lock. The release begins now, even if the operation is never started. The operation ends
    /// when the server has confirmed it, after `timeout` seconds at the latest; then it continues in the
    /// background.
    ///
    /// The result is the reason of the loss if the lock was lost, or `unconfirmed` after the timeout.
    /// With `is_last` the peer is removed as well.
    fn release(&self, py: Python<'_>, is_last: bool, timeout: f64) -> PyResult<Operation> {
        if self.peer.belongs_to_parent() {
            return Err(PeerUnavailable.into_exception(py));
        }
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        let lock = lock.ok_or_else(|| PeerUnavailable.into_exception(py))?;
        let peer = is_last.then(|| self.peer.take()).flatten();
        let unfinished = self.peer.process().count_unfinished_release();
        let runtime = self.peer.process().runtime();
        // The lock now has the last reference to its peer, so its release removes the peer.
        let _runtime = runtime.enter();
        drop(peer);
        let released = runtime.spawn(async move {
            let released = lock.release().await;
            drop(unfinished);
            released
        });
        let future = async move {
            let lost = match time::timeout(seconds(timeout), released).await {
                Ok(Ok(released)) => released.err().map(errors::describe_loss),
                Ok(Err(_)) | Err(_) => Some(errors::unconfirmed()),
            };
            Ok::<_, Error>(lost)
        };
        Ok(Operation::new(runtime.clone(), future))
    }
}

/// An operation that waits for `lost`, at most `timeout` seconds if there is a timeout.
fn wait_lost(
    peer: &OpenPeer,
    lost: impl Future<Output = Lost> + Send + 'static,
    timeout: Option<f64>,
) -> Operation {
    Operation::new(peer.process().runtime(), async move {
        let lost = match timeout {
            Some(timeout) => time::timeout(seconds(timeout), lost).await.ok(),
            None => Some(lost.await),
        };
        Ok::<_, Error>(lost.map(errors::describe_loss))
    })
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.peer.belongs_to_parent()
            && let Ok(lock) = self.lock.get_mut()
        {
            // Threads of the parent may have locked its mutexes at the fork, so that a drop could hang.
            mem::forget(lock.take());
        }
    }
}

//! Signs of life of a peer, and the news that it is lost.

use std::{collections::BTreeMap, mem, process, sync::OnceLock, time::Duration};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use throttle_client::{Lost, Peer};
use tokio::{runtime::Handle, sync::watch};

use crate::{gate, requests::seconds, world};

/// Keeps a peer alive that was made by a request, until it is stopped or dropped. The peer stays then.
#[pyclass(frozen, module = "throttle_client._native")]
pub(crate) struct Keeper {
    /// `None` only while it is dropped.
    kept: Option<Kept>,
    runtime: Handle,
    /// Who made it. A child has no part in the life of its parent's peers.
    process: u32,
    stopped: OnceLock<()>,
}

/// What a child must not even drop: threads that it does not have may hold its locks.
struct Kept {
    peer: Peer,
    fate: watch::Receiver<Option<Lost>>,
}

#[pymethods]
impl Keeper {
    /// All spans are in seconds. `on_lost` is called with the reason, from another thread.
    #[new]
    #[pyo3(signature = (url, peer, held, lease, interval, sent_ago, on_lost=None))]
    #[expect(clippy::too_many_arguments, reason = "one place in Python calls it")]
    fn new(
        py: Python<'_>,
        url: &str,
        peer: u64,
        held: BTreeMap<String, u64>,
        lease: f64,
        interval: Option<f64>,
        sent_ago: f64,
        on_lost: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let (client, runtime) = (world::client(py, url)?, world::runtime(py)?);
        let mut builder = Peer::builder(&client).lease(seconds(lease));
        if let Some(interval) = interval {
            builder = builder.heartbeat_every(seconds(interval));
        }
        let peer = {
            let _runtime = runtime.enter();
            builder.adopt(peer, held, seconds(sent_ago))
        };
        let (tell, fate) = watch::channel(None);
        let lost = peer.lost();
        let blocking = runtime.clone();
        runtime.spawn(async move {
            let lost = lost.await;
            tell.send_replace(Some(lost));
            if let Some(on_lost) = on_lost
                && lost != Lost::Closed
            {
                gate::enter(&blocking, move |py| {
                    if let Err(error) = on_lost.call1(py, (lost.to_string(),)) {
                        error.write_unraisable(py, Some(on_lost.bind(py)));
                    }
                });
            }
        });
        let (process, stopped) = (process::id(), OnceLock::new());
        Ok(Self { kept: Some(Kept { peer, fate }), runtime, process, stopped })
    }

    /// What the peer holds from now on.
    fn hold(&self, py: Python<'_>, held: BTreeMap<String, u64>) -> PyResult<()> {
        let peer = self.kept()?.peer.clone();
        py.detach(|| self.runtime.block_on(peer.holds_now(held)));
        Ok(())
    }

    /// Why the peer is lost, if it is.
    fn lost(&self) -> Option<String> {
        let Ok(Kept { fate, .. }) = self.kept() else {
            return Some("it belongs to the parent of this process".to_owned());
        };
        let lost = *fate.borrow();
        lost.filter(|&lost| lost != Lost::Closed).map(|lost| lost.to_string())
    }

    /// Waits until the peer is lost, at most `timeout` seconds; returns why, or `None`.
    #[pyo3(signature = (timeout=None))]
    fn wait_lost(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<String>> {
        let mut fate = self.kept()?.fate.clone();
        let mut left = timeout.map(seconds);
        loop {
            if fate.borrow().is_some() {
                return Ok(self.lost());
            }
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            py.detach(|| {
                self.runtime.block_on(async {
                    let _ = tokio::time::timeout(slice, fate.wait_for(Option::is_some)).await;
                });
            });
            py.check_signals()?;
            left = left.map(|left| left.saturating_sub(slice));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(self.lost());
            }
        }
    }

    /// For how many seconds the peer is certain even if no further sign of life gets through.
    fn time_left(&self) -> f64 {
        self.kept().map_or(0.0, |kept| kept.peer.time_left().as_secs_f64())
    }

    /// Ends the signs of life, and returns when none is on its way any more.
    fn stop(&self, py: Python<'_>) {
        let Ok(Kept { peer, .. }) = self.kept() else { return };
        if self.stopped.set(()).is_ok() {
            let peer = peer.clone();
            py.detach(|| self.runtime.block_on(peer.leave()));
        }
    }
}

impl Keeper {
    fn kept(&self) -> PyResult<&Kept> {
        let kept = self.kept.as_ref().filter(|_| self.process == process::id());
        kept.ok_or_else(|| {
            PyRuntimeError::new_err("the peer belongs to the parent of this process")
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.process != process::id() {
            mem::forget(self.kept.take());
        }
    }
}

/// How long the interpreter may not hear of a signal.
const SLICE: Duration = Duration::from_millis(100);

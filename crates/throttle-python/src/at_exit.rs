//! Releases all locks when an interpreter ends.

use pyo3::prelude::*;
use tokio::time;

use crate::{operation::seconds, peer::Peer, process::ProcessState};

/// Removes peers from their servers, all at once, and returns when these and all earlier releases have
/// finished, after `timeout` seconds at the latest.
///
/// `others_can_run` is false once the main interpreter has ended: a thread that gives up the lock of the
/// interpreter then never gets it back.
#[pyfunction]
pub(crate) fn close_peers(
    py: Python<'_>,
    peers: Vec<Py<Peer>>,
    timeout: f64,
    others_can_run: bool,
) {
    let Some(process) = ProcessState::existing() else { return };
    for peer in peers.iter().filter_map(|peer| peer.get().open_peer().take()) {
        drop(process.close_in_background(peer));
    }
    let finished = process.releases_finished();
    let finished = async move {
        let _late = time::timeout(seconds(timeout), finished).await;
    };
    if others_can_run {
        py.detach(|| process.runtime().block_on(finished));
    } else {
        process.runtime().block_on(finished);
    }
}

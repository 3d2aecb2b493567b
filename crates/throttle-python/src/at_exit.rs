//! What is told to the servers when an interpreter ends.

use pyo3::prelude::*;
use tokio::time;

use crate::{operation::seconds, peer::Peer, process::Process};

/// Removes peers from their servers, all at once, and returns when that and all that was begun before is done,
/// after `timeout` seconds at the latest.
///
/// When the main interpreter has ended already, no other thread may run meanwhile, for this one would not be
/// let in again.
#[pyfunction]
pub(crate) fn close_peers(
    py: Python<'_>,
    peers: Vec<Py<Peer>>,
    timeout: f64,
    others_can_run: bool,
) {
    let Some(process) = Process::existing() else { return };
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

//! The export of a running server: a body that is written while the client reads it.
//!
//! A thread that may block writes the records of one snapshot. It waits for the client after a few pieces, so an
//! export takes little memory however many peers there are. If the client is gone, it ends.

use std::{
    io::{self, Write},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use throttle_store::{Reader, export};
use tokio::{sync::mpsc, task};
use tracing::error;

use crate::wall_clock;

/// All records of the store, as they are now.
///
/// # Errors
///
/// If the store cannot be read.
pub(crate) async fn body(reader: Reader) -> Result<Body, String> {
    let snapshot = task::spawn_blocking(move || reader.snapshot()).await;
    let snapshot = snapshot.map_err(|error| error.to_string())?;
    let snapshot = snapshot.map_err(|error| error.to_string())?;
    let (pieces, receiver) = mpsc::channel(PIECES);
    task::spawn_blocking(move || {
        let mut writer = PieceWriter { pieces, piece: Vec::with_capacity(PIECE) };
        match export(&snapshot, wall_clock::now(), &mut writer) {
            Ok(_) => writer.send(),
            // If the client is gone, nobody is interested in the rest.
            Err(_) if writer.pieces.is_closed() => {}
            Err(error) => {
                error!(%error, "an export ends too early");
                let _ = writer.pieces.blocking_send(Err(io::Error::other(error)));
            }
        }
    });
    Ok(Body::new(Pieces(receiver)))
}

/// Sends what is written, piece by piece.
struct PieceWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl PieceWriter {
    /// Sends what was written so far. If the client is gone, the next write fails.
    fn send(&mut self) {
        let piece = mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let _ = self.pieces.blocking_send(Ok(piece.into()));
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pieces.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.send();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of the answer.
struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// In bytes.
const PIECE: usize = 32 * 1024;
/// How many pieces wait for the client.
const PIECES: usize = 4;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path, time::Duration};

    use axum::body::to_bytes;
    use throttle_runtime::{Handle, Labels, Settings};
    use throttle_store::Embedded;

    use super::*;

    /// A service with a store that has so many peers.
    async fn service(file: &Path, peers: usize) -> (Handle, Reader) {
        let store = Embedded::open(file).unwrap();
        let reader = store.reader();
        let semaphores = BTreeMap::new();
        let builder = Handle::builder(Settings::default(), &semaphores);
        let handle = builder.store(Box::new(store)).start().unwrap();
        let lease = Duration::from_secs(3_600);
        let new_peers = (0..peers).map(|_| handle.new_peer(lease, Labels::default()));
        for new_peer in futures_util::future::join_all(new_peers).await {
            new_peer.unwrap();
        }
        (handle, reader)
    }

    #[tokio::test]
    async fn an_export_has_all_records_of_one_instant_in_several_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let (handle, reader) = service(&directory.path().join("it.redb"), 5_000).await;
        let exported = body(reader).await.unwrap();
        let lease = Duration::from_secs(3_600);
        handle.new_peer(lease, Labels::default()).await.unwrap();
        let text = to_bytes(exported, usize::MAX).await.unwrap();
        assert!(text.len() > PIECE * (PIECES + 1), "{} bytes", text.len());
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        assert_eq!(lines.count(), 5_003, "header, peers, end, checksum");
    }

    #[tokio::test]
    async fn the_export_of_a_store_that_was_closed_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (handle, reader) = service(&directory.path().join("it.redb"), 1).await;
        handle.close().await.unwrap();
        let refusal = body(reader).await.unwrap_err();
        assert!(refusal.contains("it.redb was closed"), "{refusal}");
    }
}

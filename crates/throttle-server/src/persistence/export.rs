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

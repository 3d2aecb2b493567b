//! Ports that can be closed and opened again.

use std::{io, net::SocketAddr, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::{ProxyState, forward};

/// A port of the loopback interface. While it is closed, connections are refused.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    /// Bound but not listening, so that no other process gets the port while it is closed.
    _reservation: TcpSocket,
    accepting: Option<JoinHandle<()>>,
}

impl Port {
    pub(super) fn reserve() -> io::Result<Self> {
        let socket = bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Self { address: socket.local_addr()?, _reservation: socket, accepting: None })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn open(&mut self, state: Arc<ProxyState>, has_faults: bool) -> io::Result<()> {
        let listener = bind(self.address)?.listen(BACKLOG)?;
        self.accepting = Some(tokio::spawn(accept(listener, state, has_faults)));
        Ok(())
    }

    pub(super) async fn close(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // Waits until the task has ended.
            let _aborted = accepting.await;
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

/// Binds a socket. The reservation and the listener share the port.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    #[cfg(windows)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves connections until the future is dropped, which closes all of them.
async fn accept(listener: TcpListener, state: Arc<ProxyState>, has_faults: bool) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve(stream, Arc::clone(&state), has_faults));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<ProxyState>, has_faults: bool) {
    let service =
        service_fn(move |request| forward::forward(Arc::clone(&state), request, has_faults));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    // Broken connections are not reported: most of them are faults.
    let _broken = builder.serve_connection(TokioIo::new(stream), service).await;
}

const BACKLOG: u32 = 1_024;

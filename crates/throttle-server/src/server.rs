//! A server from its start to its end.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use throttle_http::Api;
use throttle_runtime::{Changes, Handle};
use throttle_wire::Reloaded;
use tokio::{
    net::{self, TcpListener, TcpSocket},
    sync::watch,
    task::JoinHandle,
};
use tracing::{error, info, warn};

use crate::{
    config::Config,
    listen,
    reload::{Reload, ReloadError},
    telemetry::{self, Reloads},
};

/// A server that is up.
///
/// Dropped, it stops accepting connections and lets go of those it has; [`Running::stop`] also
/// answers who waits.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    handle: Handle,
    reload: Arc<Reload>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {host}:{port}: {error}")]
pub struct StartError {
    host: String,
    port: u16,
    error: io::Error,
}

impl Running {
    /// What it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The semaphores it serves.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Reads the configuration again and puts it into force, as `POST /admin/reload` does.
    ///
    /// # Errors
    ///
    /// If there is nothing to read, or nothing that could be put into force; then nothing changed.
    pub fn reload(&self) -> impl Future<Output = Result<Changes, ReloadError>> + Send + use<> {
        let reload = Arc::clone(&self.reload);
        async move { reload.run().await }
    }

    /// Answers everybody who waits, lets other requests finish, and closes all connections; within
    /// a second, whatever clients do.
    pub async fn stop(self) {
        self.handle.drain();
        self.stop.send_replace(true);
        if let Err(error) = self.serving.await {
            error!(%error, "the server ended by a defect of this program");
        }
    }
}

/// Starts a server that listens on the first address of the host that it can have; on port 0, on one
/// that is free. If it has a file to read its configuration from, it can reload it.
///
/// Any number of servers can run in a process. They share nothing but the log.
///
/// # Errors
///
/// If it cannot listen.
pub async fn start(
    (host, port): (&str, u16),
    config: Config,
    file: Option<PathBuf>,
) -> Result<Running, StartError> {
    let (listener, address) = bind(host, port).await.map_err(|error| StartError {
        host: host.to_owned(),
        port,
        error,
    })?;
    info!(%address, "listening");
    if config.semaphores.is_empty() {
        warn!("there are no semaphores in the configuration, so nothing can be locked");
    }
    let metrics = telemetry::metrics(&config.metrics);
    let reloads = Reloads::new();
    reloads.describe(&metrics);
    let handle = Handle::start_observed(config.settings(), &config.semaphores, metrics.observer());
    let limits = listen::Limits {
        connections: config.limits.connections.get() as usize,
        request_timeout: config.limits.request_timeout.get(),
        head: config.limits.head.get() as usize,
    };
    let api = Api::new(handle.clone()).limits(config.limits.http()).metrics(metrics);
    let reload = Arc::new(Reload::new(handle.clone(), config, file, reloads));
    let for_clients = Arc::clone(&reload);
    let endpoint = api.reload(move || reload_for_client(Arc::clone(&for_clients))).endpoint();
    let (stop, stopping) = watch::channel(false);
    let answer = move |request| endpoint.answer(request);
    let server = listen::Server { listener, answer, limits, stop: stopping };
    let serving = tokio::spawn(server.run());
    Ok(Running { address, handle, reload, stop, serving })
}

async fn bind(host: &str, port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    // In a URL an IPv6 address has brackets.
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    for address in net::lookup_host((inner.unwrap_or(host), port)).await? {
        outcome = listen_on(address);
        if outcome.is_ok() {
            break;
        }
    }
    let listener = outcome?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that is started anew need not wait for the connections of its predecessor to be
    // forgotten. On Windows it would let two servers listen on the same port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Reloading for whoever asks by HTTP.
async fn reload_for_client(reload: Arc<Reload>) -> Result<Reloaded, String> {
    let Changes { added, changed, removed } =
        reload.run().await.map_err(|error| error.to_string())?;
    Ok(Reloaded { added, changed, removed })
}

/// How many connections may stand in line to be accepted. When all workers come back at once, after
/// an outage, those who find no place wait for a second before they try again. Systems have limits of
/// their own; that of Linux is as large as this one.
const BACKLOG: u32 = 4_096;

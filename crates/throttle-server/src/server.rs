//! A server from its start to its end.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    http::{Request, request::Parts},
    response::Response,
};
use throttle_http::{Api, Endpoint, Malformed, Metrics};
use throttle_runtime::{Changes, Failure, Handle, Observer};
use throttle_wire::Reloaded;
use tokio::{sync::watch, task::JoinHandle};
use tracing::{error, info, warn};

use crate::{
    Address, BoundAddress, InheritedSockets,
    config::{Config, Limits},
    listen::{self, Capacity, DeadlineBody, Listeners},
    open_files,
    reload::{AskedBy, Reload, ReloadError},
    server_metrics::{self, Reloads},
};

/// A server that is up.
///
/// Dropped, it stops accepting connections and lets go of those it has; [`Running::stop`] also
/// answers who waits.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<BoundAddress>,
    handle: Handle,
    reload: Arc<Reload>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Closed when `serving` has ended, however it did.
    served: watch::Receiver<()>,
}

/// What broke a server. It serves nobody any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ServerFailure {
    /// No more connections are accepted.
    #[error("the task that accepts connections is gone")]
    Accepting,
    /// The semaphores are in no order that can be trusted.
    #[error(transparent)]
    Service(#[from] Failure),
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct StartError {
    address: String,
    error: io::Error,
}

impl Running {
    /// What it listens on: all addresses of the name that it was started with, at least one.
    pub fn addresses(&self) -> &[BoundAddress] {
        &self.addresses
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
        async move { reload.run(AskedBy::Operator).await }
    }

    /// Resolves when the server is broken. The process should end then: whoever watches it starts it
    /// again, and clients restore what they hold. Stop the server before, so that open requests are
    /// answered.
    pub fn failed(&self) -> impl Future<Output = ServerFailure> + Send + use<> {
        let service = self.handle.failed();
        let mut served = self.served.clone();
        async move {
            tokio::select! {
                failure = service => failure.into(),
                _ = served.changed() => ServerFailure::Accepting,
            }
        }
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

/// Starts a server that listens on all addresses of the host; on port 0, on one that is free, the same
/// for all of them. If it has a file to read its configuration from, it can reload it.
///
/// Any number of servers can run in a process. They share nothing but the log.
///
/// # Errors
///
/// If one of the addresses cannot be listened on, unless this machine does not have it.
pub async fn start(
    (host, port): (&str, u16),
    config: Config,
    file: Option<PathBuf>,
) -> Result<Running, StartError> {
    let address = Address::new(host, port);
    let listeners = Listeners::bind(&address).await;
    let listeners =
        listeners.map_err(|error| StartError { address: address.to_string(), error })?;
    start_serving(listeners, config, file)
}

/// Starts a server as [`start`] does, on sockets that this process was started with.
///
/// # Errors
///
/// If one of them cannot be listened on.
pub fn start_on(
    sockets: InheritedSockets,
    config: Config,
    file: Option<PathBuf>,
) -> Result<Running, StartError> {
    let address = || "the sockets of the service manager".to_owned();
    let listeners = sockets.listen();
    let listeners = listeners.map_err(|error| StartError { address: address(), error })?;
    start_serving(listeners, config, file)
}

/// Starts a service and serves it.
fn start_serving(
    listeners: Listeners,
    config: Config,
    file: Option<PathBuf>,
) -> Result<Running, StartError> {
    let addresses = listeners.addresses();
    let addresses =
        addresses.map_err(|error| StartError { address: "a socket".to_owned(), error })?;
    let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    info!(address = %list, "listening");
    if config.semaphores.is_empty() && !config.no_semaphores {
        warn!("there are no semaphores in the configuration, so nothing can be locked");
    }
    Ok(serve((listeners, addresses), config, file, Metrics::observer))
}

/// `observer` is told of everything that happens to the semaphores.
fn serve(
    (listeners, addresses): (Listeners, Vec<BoundAddress>),
    config: Config,
    file: Option<PathBuf>,
    observer: impl FnOnce(&Metrics) -> Box<dyn Observer>,
) -> Running {
    let capacity = capacity(&config.limits);
    let (metrics, connections) = server_metrics::metrics(&config.metrics, capacity);
    let reloads = Reloads::new();
    reloads.describe(&metrics);
    let handle = Handle::start_observed(config.settings(), &config.semaphores, observer(&metrics));
    let limits = listen::Limits {
        capacity,
        request_timeout: config.limits.request_timeout.get(),
        head: config.limits.head.get() as usize,
        idle: IDLE,
        silence: SILENCE,
        stall: STALL,
        patience: PATIENCE,
    };
    handle.limit_open_waits(config.limits.open_waits(capacity.connections));
    let api = Api::new(handle.clone()).limits(config.limits.http()).metrics(metrics);
    let reload = Reload::new(handle.clone(), config, file, capacity.connections, reloads);
    let reload = Arc::new(reload);
    let for_clients = Arc::clone(&reload);
    let endpoint = api.reload(move || reload_for_client(Arc::clone(&for_clients))).endpoint();
    let (stop, stopping) = watch::channel(false);
    let waits = handle.clone();
    let server = listen::Server {
        listeners,
        service: endpoint,
        limits,
        metrics: connections,
        end_short_wait: Arc::new(move || waits.end_short_wait()),
        stop: stopping,
    };
    let (alive, served) = watch::channel(());
    let serving = tokio::spawn(async {
        let _alive = alive;
        server.run().await;
    });
    Running { addresses, handle, reload, stop, serving, served }
}

impl listen::Service for Endpoint {
    fn answer(&self, request: Request<DeadlineBody>) -> impl Future<Output = Response> + Send {
        Self::answer(self, request)
    }

    fn refuse(
        &self,
        malformed: Malformed,
        head: Option<Parts>,
    ) -> impl Future<Output = Response> + Send {
        Self::refuse(self, malformed, head)
    }
}

/// How many connections there may be.
fn capacity(limits: &Limits) -> Capacity {
    let (wanted, open_files) = (limits.connections.get(), open_files::limit());
    let capacity = Capacity::new(wanted, open_files);
    if let Some(wanted) = wanted
        && capacity.connections < wanted as usize
    {
        warn!(
            limits.connections = wanted,
            open_files,
            connections = capacity.connections,
            "the limit of open files has no room for as many connections as configured"
        );
    }
    capacity
}

/// Reloading for whoever asks by HTTP.
async fn reload_for_client(reload: Arc<Reload>) -> Result<Reloaded, String> {
    let Changes { added, changed, removed } =
        reload.run(AskedBy::Client).await.map_err(|error| error.to_string())?;
    Ok(Reloaded { added, changed, removed })
}

/// How long a connection is idle at least before it may be closed in favour of another one: longer than
/// clients take from an answer to a request that they send at once.
const IDLE: Duration = Duration::from_millis(250);
/// How long a client that was accepted may send nothing before its connection may be closed in favour of
/// another one, while there is slack: longer than a busy machine takes to get round to it.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a client may read nothing of its answer before its connection may be closed in favour of
/// another one. Answers are short, and a round trip takes less.
const STALL: Duration = Duration::from_secs(1);
/// How long a newcomer is kept waiting for room, before it is answered 503.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;

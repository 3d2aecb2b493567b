//! A server from its start to its end: binds, builds the parts and connects them, stops. `main` asks it to stop when a signal arrives.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    http::{Request, request::Parts},
    response::Response,
};
use throttle_http::{Api, Endpoint, Malformed, Metrics};
use throttle_runtime::{Changes, Failure, Handle, Observer, StoreError};
use throttle_wire::Reloaded;
use tokio::{sync::watch, task::JoinHandle};
use tracing::{error, info, warn};

use crate::{
    Address, BoundAddress, InheritedSockets,
    config::{Config, Limits},
    listen::{
        self, Capacity, ConnectionLimits, ConnectionMetrics, DeadlineBody, GracePeriods, Listeners,
    },
    open_files,
    persistence::{self, Service},
    reload::{Reload, ReloadError, RequestedBy},
    server_metrics::{self, Reloads},
};

/// A server that is running.
///
/// Dropping it stops accepting connections, and gives requests a moment to finish; [`Running::stop`] also answers
/// requests that wait for a lock.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<BoundAddress>,
    service: Service,
    reload: Arc<Reload>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// True when `serving` has ended as it should; closed when it has ended in any way.
    served: watch::Receiver<bool>,
}

/// What broke a server. It no longer serves.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServerFailure {
    /// The task that accepts connections has ended.
    #[error("the task that accepts connections is gone")]
    Accepting,
    /// The state of the semaphores may be corrupt.
    #[error(transparent)]
    Service(Failure),
    /// Changes cannot be made durable any more. All that was acknowledged is in the store.
    #[error(transparent)]
    Store(StoreError),
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen on an address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// The state of the server before it cannot be recovered, or its own could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Running {
    /// The addresses it listens on: all addresses of the host it was started with, at least one.
    pub fn addresses(&self) -> &[BoundAddress] {
        &self.addresses
    }

    /// The semaphores it serves.
    pub const fn handle(&self) -> &Handle {
        &self.service.handle
    }

    /// Reads the configuration again and puts it into force, as `POST /admin/reload` does.
    ///
    /// # Errors
    ///
    /// If there is no file, or if what it contains cannot be put into force. Nothing has changed then.
    pub fn reload(&self) -> impl Future<Output = Result<Changes, ReloadError>> + Send + use<> {
        let reload = Arc::clone(&self.reload);
        async move { reload.run(RequestedBy::Operator).await }
    }

    /// Resolves when the server no longer serves, for whatever reason.
    ///
    /// # Errors
    ///
    /// If the server is broken. The process should end then: its service manager starts it again, and clients
    /// restore what they hold. Stop the server before, so that open requests are answered.
    pub fn ended(&self) -> impl Future<Output = Result<(), ServerFailure>> + Send + use<> {
        let handle = self.service.handle.clone();
        let mut served = self.served.clone();
        async move {
            let failure = tokio::select! {
                failure = handle.failed() => failure,
                // An error means that the task ended before it could say so.
                served = served.wait_for(|served| *served) => {
                    return served.map(|_| ()).map_err(|_| ServerFailure::Accepting);
                }
            };
            Err(match failure {
                Failure::Store => ServerFailure::Store(store_error(&handle).await),
                failure @ (Failure::Operation | Failure::Timer) => ServerFailure::Service(failure),
            })
        }
    }

    /// Answers the requests that wait for a lock, lets others finish, and closes all connections: within a second,
    /// whatever clients do. Then the store is closed, if there is one, which takes two more seconds at most; or the
    /// state file is written, which takes as long as the disk needs.
    ///
    /// # Errors
    ///
    /// If the store fails or does not answer; all that was acknowledged is in it. If the state file cannot be
    /// written; then there is none.
    pub async fn stop(self) -> Result<(), StoreError> {
        self.service.handle.drain();
        // How long it may take: `STOP_TIMEOUT` in `listen::accept_loop`.
        self.stop.send_replace(true);
        if let Err(error) = self.serving.await {
            error!(%error, "the server ended by a defect of this program");
        }
        self.service.end().await
    }
}

/// Starts a server that listens on all addresses of the host. Port 0 means a free port, the same for all addresses.
/// With the file of its configuration it can reload.
///
/// The state is recovered first, from the store if there is one, so the server listens when it can answer. Any number
/// of servers can run in a process. They share only the log.
///
/// # Errors
///
/// If the state cannot be recovered, or if it cannot listen on one of the addresses. An address that this machine
/// does not have is skipped.
pub async fn start(
    (host, port): (&str, u16),
    config: Config,
    file: Option<PathBuf>,
) -> Result<Running, StartError> {
    let prepared = Prepared::new(config, Metrics::observer).await?;
    let address = Address::new(host, port);
    let listeners = Listeners::bind(&address).await;
    let listeners =
        listeners.map_err(|error| StartError::Listen { address: address.to_string(), error })?;
    prepared.start_serving(listeners, file).await
}

/// Starts a server as [`start`] does, on sockets that this process inherited.
///
/// # Errors
///
/// If the state cannot be recovered, or if it cannot listen on one of the sockets.
pub async fn start_on(
    sockets: InheritedSockets,
    config: Config,
    file: Option<PathBuf>,
) -> Result<Running, StartError> {
    let prepared = Prepared::new(config, Metrics::observer).await?;
    let address = || "the sockets of the service manager".to_owned();
    let listeners = sockets.listen();
    let listeners = listeners.map_err(|error| StartError::Listen { address: address(), error })?;
    prepared.start_serving(listeners, file).await
}

/// All parts of a server that does not listen yet.
struct Prepared {
    config: Config,
    capacity: Capacity,
    metrics: Metrics,
    connections: ConnectionMetrics,
    service: Service,
}

impl Prepared {
    /// Recovers the state. `observer` makes what observes the events of the semaphores.
    async fn new(
        config: Config,
        observer: impl FnOnce(&Metrics) -> Box<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let capacity = capacity(&config.limits);
        let (metrics, connections) = server_metrics::metrics(&config.metrics, capacity);
        let service = Service::start(&config, &metrics, observer(&metrics)).await?;
        service.handle.limit_open_waits(config.limits.open_waits(capacity.connections));
        Ok(Self { config, capacity, metrics, connections, service })
    }

    /// Starts a server on these sockets.
    async fn start_serving(
        self,
        listeners: Listeners,
        file: Option<PathBuf>,
    ) -> Result<Running, StartError> {
        let addresses = listeners.addresses();
        let addresses = addresses
            .map_err(|error| StartError::Listen { address: "a socket".to_owned(), error })?;
        let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        info!(address = %list, "listening");
        if self.config.semaphores.is_empty() && !self.config.no_semaphores {
            warn!("there are no semaphores in the configuration, so nothing can be locked");
        }
        self.service.begin()?;
        Ok(self.serve((listeners, addresses), file))
    }

    /// Connects the parts and starts to serve.
    fn serve(
        self,
        (listeners, addresses): (Listeners, Vec<BoundAddress>),
        file: Option<PathBuf>,
    ) -> Running {
        let Self { config, capacity, metrics, connections, service } = self;
        let reloads = Reloads::new();
        reloads.describe(&metrics);
        let limits = ConnectionLimits {
            capacity,
            request_timeout: config.limits.request_timeout.get(),
            head_bytes: config.limits.head.get() as usize,
            grace: GracePeriods {
                idle: IDLE_GRACE,
                awaiting_request: REQUEST_GRACE,
                stalled: STALL_GRACE,
            },
            room_timeout: ROOM_TIMEOUT,
        };
        let handle = &service.handle;
        let mut api = Api::new(handle.clone()).limits(config.limits.http()).metrics(metrics);
        if let Some(store) = service.store().cloned() {
            api = api.store_export(move || persistence::export(store.clone()));
        }
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
        let (ended, served) = watch::channel(false);
        let serving = tokio::spawn(async move {
            server.run().await;
            ended.send_replace(true);
        });
        Running { addresses, service, reload, stop, serving, served }
    }
}

/// Why the store of a service has failed.
async fn store_error(handle: &Handle) -> StoreError {
    let error = handle.close().await.err();
    error.unwrap_or_else(|| StoreError::new("the store has failed for an unknown reason"))
}

impl listen::HttpService for Endpoint {
    #[inline]
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

/// A reload that a client asked for.
async fn reload_for_client(reload: Arc<Reload>) -> Result<Reloaded, String> {
    let Changes { added, changed, removed, retired, deferred } =
        reload.run(RequestedBy::Client).await.map_err(|error| error.to_string())?;
    Ok(Reloaded { added, changed, removed, retired, deferred })
}

/// How long an idle connection is safe from being closed in favour of another one: longer than a client takes
/// to send its next request if it sends one at once.
const IDLE_GRACE: Duration = Duration::from_millis(250);
/// How long a connection is safe whose client has not sent its first request yet: longer than a busy machine
/// takes to get round to sending it.
const REQUEST_GRACE: Duration = Duration::from_secs(5);
/// How long a connection is safe whose client does not read its answer. Answers are short, and a round trip
/// takes less.
const STALL_GRACE: Duration = Duration::from_secs(1);
/// How long a new connection waits for room before it is answered 503.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;

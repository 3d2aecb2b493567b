//! What keeps the state of a server over the end of its process: nothing, or a store to which every change is
//! written.
//!
//! A service starts with what was kept of an earlier one, before the server listens ([`Service::start`]). It ends
//! after all connections ([`Service::end`]).

mod measured;

use std::{path::Path, time::Duration};

use throttle_http::Metrics;
use throttle_runtime::{Handle, Observer, Recovered, StoreError};
use throttle_store::Embedded;
use tokio::{task, time::timeout};
use tracing::{info, warn};

use self::measured::MeasuredStore;
use crate::{
    config::{Config, Persistence},
    server_metrics::{self, StoreMetrics},
};

/// A service whose state is kept as the configuration says.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) handle: Handle,
}

impl Service {
    /// Starts a service with the state that was kept of the one before.
    ///
    /// # Errors
    ///
    /// If the state cannot be read, or if it could not be kept in turn. The server must not start then.
    pub(crate) async fn start(
        config: &Config,
        metrics: &Metrics,
        observer: Box<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let (of_thread, metrics_of_thread) = (config.clone(), metrics.clone());
        let started = task::spawn_blocking(move || {
            Self::start_blocking(&of_thread, &metrics_of_thread, observer)
        });
        let service = started.await.unwrap_or_else(|error| {
            Err(StoreError::new(format!(
                "loading the state ended by a defect of this program: {error}"
            )))
        })?;
        if let Some(left) = service.handle.grace_left() {
            info!(grace_period = ?left, "nothing new is granted for a while, so that holders can restore their locks");
        }
        if !config.restart.grace_period.get().is_zero() {
            server_metrics::describe_grace(metrics, &service.handle);
        }
        Ok(service)
    }

    fn start_blocking(
        config: &Config,
        metrics: &Metrics,
        observer: Box<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let grace_period = config.restart.grace_period.get();
        let builder = Handle::builder(config.settings(), &config.semaphores);
        let builder = builder.observer(observer).grace_period(grace_period);
        match config.persistence() {
            Persistence::Memory => Ok(Self { handle: builder.start()? }),
            Persistence::StateFile(file) => {
                let file = file.display();
                Err(StoreError::new(format!("this build cannot keep its state in {file} yet")))
            }
            Persistence::Store(file) => {
                let store = Embedded::open(file)?;
                let measured = MeasuredStore::new(store, StoreMetrics::describe(metrics));
                let handle = builder.store(Box::new(measured)).start()?;
                report(file, handle.recovery());
                server_metrics::describe_file(metrics, file.to_owned(), handle.recovery());
                Ok(Self { handle })
            }
        }
    }

    /// Makes durable what the next service starts with.
    ///
    /// # Errors
    ///
    /// If that fails or takes too long. Nothing that was acknowledged is lost then.
    pub(crate) async fn end(self) -> Result<(), StoreError> {
        timeout(CLOSE_TIMEOUT, self.handle.close()).await.unwrap_or_else(|_| {
            let seconds = CLOSE_TIMEOUT.as_secs();
            Err(StoreError::new(format!(
                "the disk of the store did not take the last changes within {seconds} seconds"
            )))
        })
    }
}

/// Logs what was recovered.
fn report(file: &Path, recovered: Option<&Recovered>) {
    let file = file.display();
    let Some(recovered) = recovered else {
        return info!(%file, "a new store: there is nothing to recover");
    };
    let Recovered { peers, locks, waiters, retired, took, .. } = recovered;
    let seconds = took.as_secs_f64();
    info!(%file, peers, locks, waiters, retired = retired.len(), seconds, "state recovered");
    if !retired.is_empty() {
        let names = &retired[..retired.len().min(MAX_NAMES)];
        warn!(
            count = retired.len(),
            ?names,
            "semaphores are held that the configuration does not have; nobody else is granted them"
        );
    }
}

/// How long the last batch may take. A disk that needs longer does not answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many names a message has.
const MAX_NAMES: usize = 20;

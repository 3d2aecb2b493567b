//! What keeps the state of a server over the end of its process: nothing, a file that is written when the server is
//! stopped, or a store to which every change is written.
//!
//! A service starts with what was kept of an earlier one, before the server listens ([`Service::start`]). A state
//! file is deleted when the server begins to serve ([`Service::begin`]), because from then on it is outdated. When all
//! connections have ended, the state is kept for the next service ([`Service::end`]).

mod export;
mod measured;

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use throttle_http::Metrics;
use throttle_runtime::{Handle, Observer, Recovered, Saved, StoreError};
use throttle_store::{Claim, Embedded, Reader, StateFile};
use tokio::{task, time::timeout};
use tracing::{info, warn};

pub(crate) use self::export::body as export;
use self::measured::MeasuredStore;
use crate::{
    config::{Config, Persistence},
    server_metrics::{self, StoreMetrics},
    wall_clock,
};

/// A service, and what keeps its state.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) handle: Handle,
    storage: Storage,
}

/// What keeps the state of a service when its process ends.
#[derive(Debug)]
enum Storage {
    Nothing,
    /// A file that is written at the end.
    StateFile {
        file: PathBuf,
        /// Nobody else uses it.
        claim: Claim,
    },
    /// A store, with something that takes snapshots of it.
    Store(Reader),
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
        let (config_of_thread, metrics_of_thread) = (config.clone(), metrics.clone());
        let service =
            blocking(move || Self::load(&config_of_thread, &metrics_of_thread, observer)).await?;
        if let Some(left) = service.handle.grace_left() {
            info!(
                grace_period = ?left,
                "nothing new is granted for a while, so that holders can restore their locks"
            );
        }
        if !config.restart.grace_period.get().is_zero() {
            server_metrics::describe_grace(metrics, &service.handle);
        }
        Ok(service)
    }

    fn load(
        config: &Config,
        metrics: &Metrics,
        observer: Box<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let grace_period = config.restart.grace_period.get();
        let builder = Handle::builder(config.settings(), &config.semaphores);
        let mut builder = builder.observer(observer).grace_period(grace_period);
        match config.persistence() {
            Persistence::Memory => Ok(Self { handle: builder.start()?, storage: Storage::Nothing }),
            Persistence::StateFile(file) => {
                let claim = StateFile::claim(file)?;
                check_writable(file)?;
                if let Some(found) = StateFile::open(file, wall_clock::now())? {
                    builder = builder.recover_from(Box::new(found));
                }
                let handle = builder.start().map_err(|error| naming(file, error))?;
                report(file, handle.recovery());
                let storage = Storage::StateFile { file: file.to_owned(), claim };
                Ok(Self { handle, storage })
            }
            Persistence::Store(file) => {
                let store = Embedded::open(file)?;
                let storage = Storage::Store(store.reader());
                let measured = MeasuredStore::new(store, StoreMetrics::describe(metrics));
                let handle = builder.store(Box::new(measured)).start();
                let handle = handle.map_err(|error| naming(file, error))?;
                report(file, handle.recovery());
                server_metrics::describe_file(metrics, file.to_owned(), handle.recovery());
                Ok(Self { handle, storage })
            }
        }
    }

    /// Takes snapshots of the store, if there is one.
    pub(crate) fn store(&self) -> Option<&Reader> {
        match &self.storage {
            Storage::Store(reader) => Some(reader),
            Storage::Nothing | Storage::StateFile { .. } => None,
        }
    }

    /// Deletes the state file, because it is outdated as soon as a request has been served. So this is called when
    /// nothing else can prevent the server from serving.
    ///
    /// It blocks for a moment. A start that is cut short by a signal can end at each `await`, but must not end between
    /// this and the first request: the state would be gone.
    ///
    /// # Errors
    ///
    /// If it cannot be deleted: a later start would recover it. The server must not serve then.
    pub(crate) fn begin(&self) -> Result<(), StoreError> {
        match &self.storage {
            Storage::StateFile { file, .. } => StateFile::remove(file),
            Storage::Nothing | Storage::Store(_) => Ok(()),
        }
    }

    /// Makes durable what the next service starts with.
    ///
    /// # Errors
    ///
    /// If that fails or has failed before, or if a store takes too long. Nothing that was acknowledged is missing in a
    /// store then. A state file is not written if the service has failed, because its state may be wrong.
    pub(crate) async fn end(self) -> Result<(), StoreError> {
        let Self { handle, storage } = self;
        match storage {
            Storage::Nothing => Ok(()),
            Storage::StateFile { file, claim } => {
                blocking(move || {
                    let saved = save(&handle, &file);
                    drop(claim);
                    saved
                })
                .await
            }
            Storage::Store(_) => timeout(CLOSE_TIMEOUT, handle.close()).await.unwrap_or_else(|_| {
                let seconds = CLOSE_TIMEOUT.as_secs();
                Err(StoreError::new(format!(
                    "the disk of the store did not take the last changes within {seconds} seconds"
                )))
            }),
        }
    }
}

/// The error, with the name of the file if it has none: one that was found when the service was rebuilt from records
/// that can be read.
fn naming(file: &Path, error: StoreError) -> StoreError {
    let (file, message) = (file.display().to_string(), error.to_string());
    if message.contains(&file) {
        return error;
    }
    StoreError::new(format!(
        "{file}: {message}. Keep a copy and look at it with `throttle store verify`; then restore a backup, or move \
         the file away to start without memory"
    ))
}

/// Runs work on files on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let outcome = task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| {
        Err(StoreError::new(format!("the state was not kept by a defect of this program: {error}")))
    })
}

/// Writes the state of a drained service to a file.
fn save(handle: &Handle, file: &Path) -> Result<(), StoreError> {
    info!(file = %file.display(), "writing the state");
    let mut writer = StateFile::create(file, wall_clock::now())?;
    let Saved { peers, locks, waiters, took } = handle.save(&mut writer)?;
    writer.finish()?;
    let seconds = took.as_secs_f64();
    info!(file = %file.display(), peers, locks, waiters, seconds, "state written for the next start");
    Ok(())
}

/// Whether a state file can be written beside its place, which is noticed now and not when the server is stopped.
fn check_writable(file: &Path) -> Result<(), StoreError> {
    let mut beside = OsString::from(file);
    beside.push(".tmp");
    File::create(&beside).and_then(|_| fs::remove_file(&beside)).map_err(|error| {
        StoreError::new(format!(
            "the state file {} could not be written at the end: {error}: make its directory, and let the user \
             of the server write to it",
            file.display()
        ))
    })
}

/// Logs what was recovered.
fn report(file: &Path, recovered: Option<&Recovered>) {
    let file = file.display();
    let Some(recovered) = recovered else {
        return info!(%file, "there is no state to recover");
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

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, mpsc},
    };

    use throttle_runtime::{Batch, Labels, Meta, Record, Settings, Store};

    use super::*;

    /// A disk that takes no batch but the first before the sender is dropped.
    struct Hanging {
        batches: usize,
        released: mpsc::Receiver<()>,
    }

    impl Store for Hanging {
        fn load(
            &mut self,
            _: &mut dyn FnMut(Record) -> Result<(), StoreError>,
        ) -> Result<Option<Meta>, StoreError> {
            Ok(None)
        }

        fn write(&mut self, _: &Batch) -> Result<(), StoreError> {
            self.batches += 1;
            if self.batches > 1 {
                let _ = self.released.recv();
            }
            Ok(())
        }

        fn max_batch(&self) -> usize {
            usize::MAX
        }
    }

    /// D8: two servers with the same locks would both let their holders work, and one that starts before the other has
    /// written the file would begin with nothing.
    #[tokio::test]
    async fn of_two_services_with_the_same_state_file_the_second_one_does_not_start_before_the_first_one_has_written_it()
     {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("it");
        let handle = Handle::start(Settings::default(), &BTreeMap::new());
        save(&handle, &file).unwrap();
        let service = || async {
            let text = format!("[restart]\nstate_file = {:?}", file.to_str().unwrap());
            let config = Config::parse(&text, Path::new("it.toml")).unwrap();
            let metrics = Metrics::new(Arc::new(metrics::NoopRecorder), Arc::new(String::new));
            Service::start(&config, &metrics, metrics.observer()).await
        };
        let first = service().await.unwrap();
        first.begin().unwrap();
        let refused = async || service().await.unwrap_err().to_string();
        let error = refused().await;
        assert!(error.contains("in use by another process"), "{error}");
        let lease = Duration::from_secs(60);
        first.handle.new_peer(lease, Labels::default()).await.unwrap();
        first.handle.drain();
        assert_eq!(refused().await, error, "it has ended, but its state is not written");
        first.end().await.unwrap();
        let second = service().await.unwrap();
        assert_eq!(second.handle.recovery().unwrap().peers, 1);
    }

    /// A process must end, whatever its disk does.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_does_not_delay_the_end_for_long() {
        let directory = tempfile::tempdir().unwrap();
        let reader = Embedded::open(directory.path().join("it.redb")).unwrap().reader();
        let (release, released) = mpsc::channel();
        let semaphores = BTreeMap::new();
        let builder = Handle::builder(Settings::default(), &semaphores);
        let handle = builder.store(Box::new(Hanging { batches: 0, released })).start().unwrap();
        let lease = Duration::from_secs(60);
        let unanswered = handle.new_peer(lease, Labels::default());
        assert!(timeout(Duration::from_secs(1), unanswered).await.is_err());
        let service = Service { handle, storage: Storage::Store(reader) };
        let error = service.end().await.unwrap_err().to_string();
        assert!(error.contains("within 2 seconds"), "{error}");
        drop(release);
    }
}

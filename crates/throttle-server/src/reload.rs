//! Reading the configuration again while the server runs: all of it takes effect, or nothing.
//!
//! A reload is refused if the file is no configuration (`config`), or if it does not fit to the running server
//! ([`Reload::check`]). Options that take a restart (`config::restart_keys`) are no reason to refuse it: the log names
//! those that differ. Semaphores in use are none either: one that is to be removed is retired, and a change of its
//! level is deferred (`throttle_runtime`).

mod log;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use throttle_runtime::{Changes, Error, Handle};
use tokio::{sync::Mutex, task, time};

use self::log::ReloadLog;
use crate::{
    config::{Config, ConfigError},
    server_metrics::Reloads,
};

/// How long the file may take to be read; it may be on a network that is down. Other reloads wait meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the configuration again and puts it into force.
#[derive(Debug)]
pub(crate) struct Reload {
    handle: Handle,
    file: Option<PathBuf>,
    /// What the server was started with.
    config: Config,
    /// The limit of connections in force, which a reload does not change.
    connections: usize,
    reloads: Arc<Reloads>,
    /// Locked during a reload, so that what was read last is in force last.
    log: Mutex<ReloadLog>,
}

/// Who asked for the configuration to be read again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RequestedBy {
    /// A client, by HTTP. The outcome is in its answer, too.
    Client,
    /// An operator, by a signal. The outcome is only in the log.
    Operator,
}

/// Why the configuration stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The server was not started from a file.
    #[error("there is no configuration file to read")]
    NoFile,
    /// A pipe or a device may never end, or have another content each time.
    #[error("the configuration {} is not a regular file", file.display())]
    NotRegular {
        /// Its name.
        file: PathBuf,
    },
    /// The file takes too long to read.
    #[error("the configuration {} was not read within {} seconds", file.display(), READ_TIMEOUT.as_secs())]
    Slow {
        /// Its name.
        file: PathBuf,
    },
    /// A defect: reading it, or putting it into force, ended without a result.
    #[error("the configuration could not be put into force: {0}")]
    Failed(#[from] task::JoinError),
    /// The file cannot be read, or is no configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An empty or half-written file looks like one that is meant to remove everything.
    #[error(
        "the configuration {} has no semaphores, and {served} are served: if all of them shall be \
        removed, the file must say no_semaphores = true",
        file.display()
    )]
    NoSemaphores {
        /// Its name.
        file: PathBuf,
        /// How many semaphores there are.
        served: usize,
    },
    /// Clients could not ask for this semaphore.
    #[error(
        "the name of the semaphore {name:?} has more than the {limit} bytes that were \
        limits.name_length when the server started"
    )]
    NameTooLong {
        /// Its name.
        name: String,
        /// The limit in force.
        limit: u32,
    },
    /// The service has failed, so it serves nothing any more.
    #[error(transparent)]
    Service(#[from] Error),
}

impl Reload {
    pub(crate) fn new(
        handle: Handle,
        config: Config,
        file: Option<PathBuf>,
        connections: usize,
        reloads: Arc<Reloads>,
    ) -> Self {
        let log = Mutex::new(ReloadLog::new());
        Self { handle, file, config, connections, reloads, log }
    }

    /// Reloads, and logs and counts the outcome. Reloads run one after the other.
    pub(crate) async fn run(&self, requested_by: RequestedBy) -> Result<Changes, ReloadError> {
        let mut log = self.log.lock().await;
        if requested_by == RequestedBy::Operator {
            log.repeat_next();
        }
        let outcome = self.read_and_apply(&mut log).await;
        self.reloads.record(outcome.is_ok());
        match &outcome {
            Ok(changes) => log::applied(changes),
            Err(error) => log.refused(error),
        }
        outcome
    }

    async fn read_and_apply(&self, log: &mut ReloadLog) -> Result<Changes, ReloadError> {
        let file = self.file.clone().ok_or(ReloadError::NoFile)?;
        let config = read(file.clone(), READ_TIMEOUT).await?;
        self.check(&config, file).await?;
        // Comparing very many semaphores takes too long for a thread that serves requests.
        let (handle, settings) = (self.handle.clone(), config.settings());
        let runtime = tokio::runtime::Handle::current();
        let (outcome, config) = task::spawn_blocking(move || {
            (runtime.block_on(handle.reconfigure(settings, &config.semaphores)), config)
        })
        .await?;
        let changes = outcome?;
        self.handle.limit_open_waits(config.limits.open_waits(self.connections));
        log.restart_needed(&self.config.keys_that_take_a_restart(&config));
        Ok(changes)
    }

    /// Whether a valid configuration fits to the running server.
    async fn check(&self, config: &Config, file: PathBuf) -> Result<(), ReloadError> {
        if config.semaphores.is_empty() && !config.no_semaphores {
            let served = self.handle.semaphores().await.map_or(0, |all| all.len());
            if served > 0 {
                return Err(ReloadError::NoSemaphores { file, served });
            }
        }
        let limit = self.config.limits.name_length.get();
        match config.semaphores.keys().find(|name| name.len() > limit as usize) {
            Some(name) => Err(ReloadError::NameTooLong { name: name.clone(), limit }),
            None => Ok(()),
        }
    }
}

/// Reads a file. After the timeout its thread goes on reading, but the reload has ended.
async fn read(file: PathBuf, timeout: Duration) -> Result<Config, ReloadError> {
    let name = file.clone();
    let reading = task::spawn_blocking(move || match fs::metadata(&file) {
        Ok(metadata) if !metadata.is_file() => Err(ReloadError::NotRegular { file }),
        // If there is no such file, reading it is the error.
        _ => Ok(Config::read(&file)?),
    });
    match time::timeout(timeout, reading).await {
        Ok(outcome) => outcome?,
        Err(_) => Err(ReloadError::Slow { file: name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_takes_too_long_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("throttle.toml");
        fs::write(&file, "").unwrap();
        assert_eq!(read(file.clone(), READ_TIMEOUT).await.unwrap(), Config::default());
        let long = format!("[semaphores]\n{}", "#\n".repeat(1 << 20));
        fs::write(&file, long).unwrap();
        let outcome = read(file, Duration::ZERO).await;
        assert!(matches!(outcome, Err(ReloadError::Slow { .. })), "{outcome:?}");
    }
}

//! The configuration is read again while the server runs: all of it takes effect, or nothing.

use std::path::PathBuf;

use throttle_runtime::{Changes, Handle, ReconfigureError};
use tokio::{sync::Mutex, task};
use tracing::{info, warn};

use crate::config::{Config, ConfigError};

/// Reads the configuration again and puts it into force.
#[derive(Debug)]
pub(crate) struct Reload {
    handle: Handle,
    file: Option<PathBuf>,
    /// What the server was started with.
    config: Config,
    /// One at a time, so that what was read last is in force last.
    turn: Mutex<()>,
}

/// Why the configuration stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The server was not started from a file.
    #[error("there is no configuration file to read")]
    NoFile,
    /// The file cannot be read, or says something that makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    /// Somebody holds or awaits a semaphore that would be removed or change its level.
    #[error(transparent)]
    InUse(#[from] ReconfigureError),
}

impl Reload {
    pub(crate) fn new(handle: Handle, config: Config, file: Option<PathBuf>) -> Self {
        let turn = Mutex::default();
        Self { handle, file, config, turn }
    }

    /// Does it, and logs what came of it.
    pub(crate) async fn run(&self) -> Result<Changes, ReloadError> {
        let _turn = self.turn.lock().await;
        let outcome = self.read_and_apply().await;
        match &outcome {
            Ok(Changes { added, changed, removed }) => {
                info!(?added, ?changed, ?removed, "configuration reloaded")
            }
            Err(error) => warn!(%error, "reload refused, nothing changed"),
        }
        outcome
    }

    async fn read_and_apply(&self) -> Result<Changes, ReloadError> {
        let file = self.file.clone().ok_or(ReloadError::NoFile)?;
        let reading = task::spawn_blocking(move || Config::read(&file));
        let config = reading.await.expect("reading does not panic")?;
        let limit = self.config.limits.name_length.get();
        if let Some(name) = config.semaphores.keys().find(|name| name.len() > limit as usize) {
            let name = name.clone();
            return Err(ReloadError::NameTooLong { name, limit });
        }
        let changes = self.handle.reconfigure(config.settings(), &config.semaphores)?;
        let keys = self.config.keys_that_take_a_restart(&config);
        if !keys.is_empty() {
            warn!(?keys, "these options take effect when the server is started again");
        }
        Ok(changes)
    }
}

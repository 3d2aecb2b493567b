//! The configuration is read again while the server runs: all of it takes effect, or nothing.

use std::{fmt, fs, mem, path::PathBuf, sync::Arc, time::Duration};

use throttle_runtime::{Changes, Clock, Handle, RateLimit, ReconfigureError, Time};
use tokio::{sync::Mutex, task, time};
use tracing::{info, warn};

use crate::{
    config::{Config, ConfigError},
    server_metrics::Reloads,
};

/// For how long the file is read, which may be on a network that is down. Others wait for their turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the configuration again and puts it into force.
#[derive(Debug)]
pub(crate) struct Reload {
    handle: Handle,
    file: Option<PathBuf>,
    /// What the server was started with.
    config: Config,
    /// The limit in force, which stays.
    connections: usize,
    reloads: Arc<Reloads>,
    /// One at a time, so that what was read last is in force last.
    turn: Mutex<Warnings>,
}

/// Who wants the configuration to be read again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AskedBy {
    /// Whoever reaches the port. They hear what came of it, too.
    Client,
    /// Whoever may send signals to the process. The log is all they have.
    Operator,
}

/// What the log was told of reloads: whoever may ask for them could fill a disk with the same line.
#[derive(Debug)]
struct Warnings {
    clock: Clock,
    refused: Repeated,
    take_a_restart: Repeated,
}

impl Warnings {
    /// The next one is written in any case.
    fn forget(&mut self) {
        self.refused.limit = RateLimit::default();
        self.take_a_restart.limit = RateLimit::default();
    }
}

/// Lets a line pass if it says something new, or if the last one was written a while ago.
#[derive(Debug, Default)]
struct Repeated {
    last: String,
    limit: RateLimit,
    left_out: u64,
}

impl Repeated {
    /// How often the line was left out since it was written last, if it is to be written now.
    fn admits(&mut self, now: Time, line: &str) -> Option<u64> {
        if self.last != line {
            *self = Self { last: line.to_owned(), ..Self::default() };
        }
        if self.limit.admits(now, BETWEEN_REPETITIONS) {
            return Some(mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }
}

/// How long a line about a reload is not repeated.
const BETWEEN_REPETITIONS: Duration = Duration::from_secs(10);

/// Why the configuration stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The server was not started from a file.
    #[error("there is no configuration file to read")]
    NoFile,
    /// A pipe or a device may never end, or say something else each time.
    #[error("the configuration {} is not a regular file", file.display())]
    NotRegular {
        /// Its name.
        file: PathBuf,
    },
    /// The file takes too long to read.
    #[error("the configuration {} was not read within {} seconds", file.display(), PATIENCE.as_secs())]
    Slow {
        /// Its name.
        file: PathBuf,
    },
    /// A defect: reading it, or putting it into force, ended without a result.
    #[error("the configuration could not be put into force: {0}")]
    Failed(#[from] task::JoinError),
    /// The file cannot be read, or says something that makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An empty or half-written file looks like one that was meant to remove everything.
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
    /// Somebody holds or awaits a semaphore that would be removed or change its level.
    #[error(transparent)]
    InUse(#[from] ReconfigureError),
}

impl Reload {
    pub(crate) fn new(
        handle: Handle,
        config: Config,
        file: Option<PathBuf>,
        connections: usize,
        reloads: Arc<Reloads>,
    ) -> Self {
        let turn = Mutex::new(Warnings {
            clock: Clock::start(),
            refused: Repeated::default(),
            take_a_restart: Repeated::default(),
        });
        Self { handle, file, config, connections, reloads, turn }
    }

    /// Does it, and logs what came of it.
    pub(crate) async fn run(&self, asked_by: AskedBy) -> Result<Changes, ReloadError> {
        let mut warnings = self.turn.lock().await;
        if asked_by == AskedBy::Operator {
            warnings.forget();
        }
        let outcome = self.read_and_apply(&mut warnings).await;
        self.reloads.record(outcome.is_ok());
        match &outcome {
            Ok(changes) => report(changes),
            Err(error) => {
                let error = error.to_string().replace('\n', "; ");
                let now = warnings.clock.now();
                if let Some(left_out) = warnings.refused.admits(now, &error) {
                    warn!(%error, left_out, "reload refused, nothing changed");
                }
            }
        }
        outcome
    }

    async fn read_and_apply(&self, warnings: &mut Warnings) -> Result<Changes, ReloadError> {
        let file = self.file.clone().ok_or(ReloadError::NoFile)?;
        let config = read(file.clone(), PATIENCE).await?;
        if config.semaphores.is_empty() && !config.no_semaphores {
            let served = self.handle.semaphores().len();
            if served > 0 {
                return Err(ReloadError::NoSemaphores { file, served });
            }
        }
        let limit = self.config.limits.name_length.get();
        if let Some(name) = config.semaphores.keys().find(|name| name.len() > limit as usize) {
            let name = name.clone();
            return Err(ReloadError::NameTooLong { name, limit });
        }
        // Very many semaphores take some time to compare, which is not that of those who serve.
        let (handle, settings) = (self.handle.clone(), config.settings());
        let (outcome, config) = task::spawn_blocking(move || {
            (handle.reconfigure(settings, &config.semaphores), config)
        })
        .await?;
        let changes = outcome?;
        self.handle.limit_open_waits(config.limits.open_waits(self.connections));
        let keys = self.config.keys_that_take_a_restart(&config);
        let now = warnings.clock.now();
        if !keys.is_empty()
            && let Some(left_out) = warnings.take_a_restart.admits(now, &format!("{keys:?}"))
        {
            warn!(?keys, left_out, "these options take effect when the server is started again");
        }
        Ok(changes)
    }
}

/// Logs what a reload changed. What was removed cannot be locked any more, which somebody may miss.
fn report(Changes { added, changed, removed }: &Changes) {
    let (added, changed) = (FirstOf(added), FirstOf(changed));
    info!(?added, ?changed, removed = ?FirstOf(removed), "configuration reloaded");
    if !removed.is_empty() {
        let (count, names) = (removed.len(), FirstOf(removed));
        warn!(count, ?names, "a reload removed semaphores");
    }
}

/// Names for a line of the log: the first of them, and how many more there are.
struct FirstOf<'a>(&'a [String]);

impl fmt::Debug for FirstOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.0.split_at(self.0.len().min(NAMES_IN_A_LINE));
        let mut list = f.debug_list();
        list.entries(first);
        if !rest.is_empty() {
            list.entry(&format_args!("and {} more", rest.len()));
        }
        list.finish()
    }
}

/// How many names a line of the log has of each kind.
const NAMES_IN_A_LINE: usize = 20;

/// Reads a file. If that takes too long, a thread goes on doing so, and nobody waits for it.
async fn read(file: PathBuf, patience: Duration) -> Result<Config, ReloadError> {
    let name = file.clone();
    let reading = task::spawn_blocking(move || match fs::metadata(&file) {
        Ok(metadata) if !metadata.is_file() => Err(ReloadError::NotRegular { file }),
        // If there is no such file, reading says so.
        _ => Ok(Config::read(&file)?),
    });
    match time::timeout(patience, reading).await {
        Ok(outcome) => outcome?,
        Err(_) => Err(ReloadError::Slow { file: name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_names_the_first_of_many() {
        let names: Vec<_> = (1..=23).map(|number| number.to_string()).collect();
        assert_eq!(format!("{:?}", FirstOf(&names[..2])), r#"["1", "2"]"#);
        assert!(format!("{:?}", FirstOf(&names)).ends_with(r#""19", "20", and 3 more]"#));
    }

    #[test]
    fn the_same_line_is_written_once_in_a_while_and_says_how_often_it_was_left_out() {
        let mut repeated = Repeated::default();
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert_eq!(repeated.admits(at(0), "one"), Some(0));
        assert_eq!((1..=9).find_map(|second| repeated.admits(at(second), "one")), None);
        assert_eq!(repeated.admits(at(10), "one"), Some(9));
        assert_eq!(repeated.admits(at(10), "other"), Some(0), "it says something new");
    }

    #[tokio::test]
    async fn a_file_that_takes_too_long_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("throttle.toml");
        fs::write(&file, "").unwrap();
        assert_eq!(read(file.clone(), PATIENCE).await.unwrap(), Config::default());
        let long = format!("[semaphores]\n{}", "#\n".repeat(1 << 20));
        fs::write(&file, long).unwrap();
        let outcome = read(file, Duration::ZERO).await;
        assert!(matches!(outcome, Err(ReloadError::Slow { .. })), "{outcome:?}");
    }
}

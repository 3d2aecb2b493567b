//! The outcome of a reload of the configuration.

use serde::{Deserialize, Serialize};

/// Answer to `POST /admin/reload`: names of semaphores.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reloaded {
    /// Semaphores that are new.
    pub added: Vec<String>,
    /// Semaphores with a new maximum or level.
    pub changed: Vec<String>,
    /// Semaphores that no longer exist.
    pub removed: Vec<String>,
    /// Semaphores that are no longer configured but still held. Each exists until its last lock is given up, and is
    /// granted to nobody meanwhile.
    #[serde(default)]
    pub retired: Vec<String>,
    /// Semaphores whose new level applies only when nobody holds or awaits them.
    #[serde(default)]
    pub deferred: Vec<String>,
}

//! What a reload of the configuration did.

use serde::{Deserialize, Serialize};

/// Answer to `POST /admin/reload`: names of the semaphores that changed.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reloaded {
    /// New ones.
    pub added: Vec<String>,
    /// Those with a new maximum or level.
    pub changed: Vec<String>,
    /// Those that are no more.
    pub removed: Vec<String>,
}

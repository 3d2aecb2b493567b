//! Equipment for tests of what a crash or a failing disk leaves. Not for servers.

mod crash;
mod lying_disk;
mod unsynced_file;

use redb::StorageBackend;
use throttle_runtime::StoreError;

pub use self::{
    crash::Replay,
    lying_disk::{Fault, LyingDisk, Operation},
    unsynced_file::UnsyncedFile,
};
use crate::Embedded;

/// Opens the store in `backend`, and makes it if the backend is empty. `name` stands for it in messages.
///
/// # Errors
///
/// Those of [`Embedded::open`].
pub fn open(name: &str, backend: impl StorageBackend) -> Result<Embedded, StoreError> {
    Embedded::open_on(name, backend)
}

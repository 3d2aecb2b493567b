//! Files that keep the state of a Throttle server over the end of its process.
//!
//! - [`Embedded`] is the durable store: a redb file to which the runtime writes every change before it shows it.
//! - [`StateFile`] holds the whole state of a server that was stopped in order, for its next start.
//! - [`open_read_only`], [`export`], [`import`] and [`verify()`] serve operators.
//!
//! Both files keep the [records](throttle_runtime::Record) of the runtime. `docs/design/records.md` describes their
//! bytes. Nothing here knows what a semaphore is.
//!
//! ```
//! use throttle_runtime::{Batch, FencingToken, Meta, Store, UnixTime};
//! use throttle_store::Embedded;
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("throttle.redb");
//! let mut store = Embedded::open(&path)?;
//! assert_eq!(store.load(&mut |_| Ok(()))?, None); // It is new.
//! let meta = Meta { id: 1, made_at: UnixTime(0), token_floor: FencingToken::MAX };
//! store.write(&Batch { meta: Some(meta), ..Batch::default() })?;
//!
//! drop(store); // The process may be killed just as well.
//! assert_eq!(Embedded::open(&path)?.load(&mut |_| Ok(()))?, Some(meta));
//! # Ok::<(), throttle_runtime::StoreError>(())
//! ```

#![forbid(unsafe_code)]

mod archive;
mod embedded;
mod engine;
mod files;
mod format;
mod lines;
mod snapshot;
mod state_file;
mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod verify;

pub use crate::{
    archive::{Archive, CopiedStore, export, import, open_read_only},
    embedded::Embedded,
    engine::CACHE_BYTES,
    files::replace,
    snapshot::{Counts, Reader, Receive, Records, Snapshot},
    state_file::{Claim, StateFile, StateFileWriter},
    verify::{Verified, verify},
};

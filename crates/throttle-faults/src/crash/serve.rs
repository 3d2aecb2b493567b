//! A server whose store breaks a promise on purpose.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use throttle_http::Api;
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings, StoreError};
use throttle_store::{Embedded, testing::UnsyncedFile};
use tokio::net::TcpListener;

use super::{
    run::SEMAPHORES,
    store_fault::{FaultyStore, StoreFault},
};

/// Serves on this address with a store at `path` that has this fault, until the process is killed.
///
/// # Errors
///
/// The store cannot be opened or loaded or written, or the address is in use.
pub async fn serve(address: SocketAddr, path: &Path, fault: StoreFault) -> anyhow::Result<()> {
    let path = path.to_owned();
    let handle = tokio::task::spawn_blocking(move || start(path, fault)).await??;
    let listener = TcpListener::bind(address).await?;
    let routes = Api::new(handle.clone()).routes();
    tokio::select! {
        result = axum::serve(listener, routes) => result?,
        failure = handle.failed() => anyhow::bail!("the service has failed: {failure:?}"),
    }
    Ok(())
}

fn open(path: &Path, fault: StoreFault) -> Result<Embedded, StoreError> {
    if fault != StoreFault::DropsUnsynced {
        return Embedded::open(path);
    }
    let file = UnsyncedFile::open(path, SYNC_OF);
    let file = file.map_err(|error| StoreError::new(format!("{}: {error}", path.display())))?;
    throttle_store::testing::open("the unsynced store", file)
}

fn start(path: PathBuf, fault: StoreFault) -> Result<Handle, StoreError> {
    let semaphores = SEMAPHORES.iter().map(|semaphore| {
        let max = Count::new(semaphore.max).expect("a maximum is positive");
        (semaphore.name.to_owned(), SemaphoreConfig { max, level: Level(semaphore.level) })
    });
    let semaphores = semaphores.collect::<BTreeMap<_, _>>();
    let store = FaultyStore::new(open(&path, fault)?, fault);
    Handle::builder(Settings::default(), &semaphores).store(Box::new(store)).start()
}

/// Of so many syncs, an unsynced file does one.
const SYNC_OF: u32 = 20;

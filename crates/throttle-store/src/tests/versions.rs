//! Files of every released version: they must be readable for ever.

use std::{fs, path::PathBuf};

use crate::{Embedded, StateFile, verify};
use throttle_runtime::{StoreError, UnixTime};

use super::samples::{META, batch, load, records};

fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "src", "tests", "data", name].iter().collect()
}

#[test]
fn a_store_of_version_1_can_be_opened() -> Result<(), StoreError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.redb");
    fs::copy(data("version-1.redb"), &path).unwrap();
    assert_eq!(load(&mut Embedded::open(&path)?)?, (Some(META), records()));
    Ok(())
}

#[test]
fn a_state_file_of_version_1_can_be_opened() -> Result<(), StoreError> {
    let mut file = StateFile::open(data("version-1.jsonl"), UnixTime(0))?.expect("it exists");
    assert_eq!(load(&mut file)?, (Some(META), records()));
    Ok(())
}

/// D5
#[test]
fn a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.redb");
    fs::copy(data("version-1.redb"), &path).unwrap();
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(table).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    let expected = format!(
        "the store {} has format 2, and this version of Throttle reads format 1: use the version that wrote it, or \
         export it with that one and import it with this one",
        path.display()
    );
    assert_eq!(Embedded::open(&path).unwrap_err().to_string(), expected);
    assert_eq!(verify(&path).unwrap_err().to_string(), expected);
    let after = fs::read(&path).unwrap();
    assert_eq!(before.len(), after.len());
}

/// D5
#[test]
fn a_redb_file_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, u64>::new("accounts");
    transaction.open_table(table).unwrap().insert("ann", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(
        Embedded::open(&path).unwrap_err().to_string(),
        format!(
            "the store {} is a redb file of another program: give another path, or move the file away",
            path.display()
        )
    );
}

/// Makes the files of the version that is written now. Only to be run for a version that has none so far.
#[ignore = "it writes test data"]
#[test]
fn write_the_files_of_this_version() -> Result<(), StoreError> {
    use throttle_runtime::{Batch, Store as _};
    Embedded::open(data("version-1.redb"))?.write(&batch())?;
    let mut file = StateFile::create(data("version-1.jsonl"), UnixTime(0))?;
    let mut batch = batch();
    batch.semaphores.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (absent, mut living): (Vec<_>, Vec<_>) =
        batch.peers.into_iter().partition(|(id, _)| id.get() == 2);
    living.sort_by_key(|(id, _)| *id);
    file.write(&Batch { peers: living, ..batch })?;
    file.write(&Batch { peers: absent, ..Batch::default() })?;
    file.finish().map(drop)
}

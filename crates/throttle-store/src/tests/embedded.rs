//! The embedded store: what it gives back, and what it says of files that it refuses.

use std::{fs, path::Path, sync::Arc};

use crate::{Counts, Embedded, verify};
use tempfile::TempDir;
use throttle_runtime::{Batch, PeerChange, Record, Store as _, StoreError, UnixTime};

use super::samples::{META, absent, bare, batch, gone, id, living, load, peer, records, semaphore};

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The message of a store that does not open, with the directory as `DIR`.
fn refusal(directory: &TempDir, path: &Path) -> String {
    let error = Embedded::open(path).expect_err("it opens");
    error.to_string().replace(directory.path().to_str().unwrap(), "DIR")
}

/// A store with [`batch`] in it, closed.
fn filled(directory: &TempDir) -> std::path::PathBuf {
    let path = directory.path().join("it.redb");
    Embedded::open(&path).unwrap().write(&batch()).unwrap();
    path
}

#[test]
fn a_new_store_is_empty() -> Result<(), StoreError> {
    let directory = directory();
    let path = directory.path().join("it.redb");
    assert_eq!(load(&mut Embedded::open(&path)?)?, (None, vec![]));
    assert_eq!(load(&mut Embedded::open(&path)?)?, (None, vec![]));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    Ok(())
}

#[test]
fn a_store_gives_back_what_was_written_to_it() -> Result<(), StoreError> {
    let directory = directory();
    let path = filled(&directory);
    assert_eq!(load(&mut Embedded::open(&path)?)?, (Some(META), records()));
    Ok(())
}

#[test]
fn a_batch_replaces_and_removes_records_and_leaves_the_others() -> Result<(), StoreError> {
    let directory = directory();
    let mut store = Embedded::open(filled(&directory))?;
    let peers = vec![
        living(bare(2)),           // It was absent.
        gone(absent(1)),           // It was living.
        (id(3), PeerChange::Gone), // It was living.
        (id(9), PeerChange::Gone), // It never existed.
        living(peer(8)),           // It is new.
    ];
    let semaphores = vec![(Arc::from("db"), None), (Arc::from("new"), Some(semaphore("new")))];
    store.write(&Batch { meta: None, semaphores, peers })?;
    let (meta, records) = load(&mut store)?;
    let names = ["", "a/b c", "new"].map(|name| Record::Semaphore(semaphore(name)));
    let peers = [bare(2), peer(8), bare(u64::MAX)].map(Record::Peer);
    let expected: Vec<_> =
        names.into_iter().chain(peers).chain([Record::Absent(absent(1))]).collect();
    assert_eq!((meta, records), (Some(META), expected));

    store.write(&Batch { peers: vec![(id(1), PeerChange::Gone)], ..Batch::default() })?;
    let counts = store.reader().snapshot()?.counts()?;
    assert_eq!(counts, Counts { semaphores: 3, peers: 3, absent: 0 });
    Ok(())
}

#[test]
fn a_snapshot_stays_as_it_was_while_the_server_writes() -> Result<(), StoreError> {
    let directory = directory();
    let mut store = Embedded::open(filled(&directory))?;
    let reader = store.reader();
    let snapshot = reader.snapshot()?;
    store.write(&Batch { peers: vec![(id(1), PeerChange::Gone)], ..Batch::default() })?;
    let mut seen = Vec::new();
    snapshot.records(&mut |record| {
        seen.push(record);
        Ok(())
    })?;
    assert_eq!(seen, records());
    assert_eq!(reader.snapshot()?.counts()?.peers, 2);

    drop(store);
    let name = directory.path().join("it.redb");
    let closed = format!("the store {} was closed", name.display());
    assert_eq!(reader.snapshot().unwrap_err().to_string(), closed);
    assert!(snapshot.records(&mut |_| Ok(())).is_err());
    Embedded::open(&name).map(drop)
}

/// Nobody was shown anything of it.
#[test]
fn a_store_whose_first_filling_was_interrupted_is_empty() -> Result<(), StoreError> {
    let directory = directory();
    let path = directory.path().join("it.redb");
    Embedded::open(&path)?.write(&Batch { meta: None, ..batch() })?;
    assert_eq!(
        verify(&path).unwrap_err().to_string(),
        format!(
            "the store {} is not complete, because its first filling was interrupted: start the server again",
            path.display()
        )
    );
    assert_eq!(load(&mut Embedded::open(&path)?)?, (None, vec![]));
    Embedded::open(&path)?.write(&batch())?;
    assert_eq!(load(&mut Embedded::open(&path)?)?, (Some(META), records()));
    Ok(())
}

#[test]
fn what_a_crash_left_of_the_making_of_a_store_is_replaced() -> Result<(), StoreError> {
    let directory = directory();
    fs::write(directory.path().join("it.redb.new"), "a part of a store").unwrap();
    assert_eq!(load(&mut Embedded::open(filled(&directory))?)?, (Some(META), records()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    Ok(())
}

#[cfg(unix)]
#[test]
fn only_the_user_of_the_server_can_read_its_files() -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = directory();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&filled(&directory)), 0o600);
    let path = directory.path().join("state");
    let mut file = crate::StateFile::create(&path, UnixTime(0))?;
    file.write(&batch())?;
    file.finish()?;
    assert_eq!(mode(&path), 0o600);
    Ok(())
}

/// D8
#[test]
fn a_store_that_is_open_cannot_be_opened_again() -> Result<(), StoreError> {
    let directory = directory();
    let path = filled(&directory);
    let first = Embedded::open(&path)?;
    let other_name = directory.path().join("link.redb");
    fs::hard_link(&path, &other_name).unwrap();
    assert_eq!(
        refusal(&directory, &other_name),
        "the store DIR/link.redb is in use by another process, and only one server may write to a store: stop the \
         other one, or give this one a path of its own"
    );
    drop(first);
    Embedded::open(&path).map(drop)
}

/// D5
#[cfg(unix)] // The messages of the system differ.
#[test]
fn what_cannot_be_a_store_is_refused_with_advice_and_left_alone() {
    let directory = directory();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let missing = directory.path().join("no/it.redb");
    assert_eq!(
        refusal(&directory, &missing),
        "the store DIR/no/it.redb cannot be made: No such file or directory (os error 2): make its directory, or \
         correct the path"
    );
    let text = file("text", b"this is a text of some length, and no store");
    assert_eq!(
        refusal(&directory, &text),
        "the store DIR/text is not a store of Throttle (Not a redb database: magic number mismatch): give another \
         path, or move the file away"
    );
    assert_eq!(fs::read(text).unwrap(), b"this is a text of some length, and no store");
    let empty = file("empty", b"");
    assert_eq!(
        refusal(&directory, &empty),
        "the store DIR/empty is damaged: it is empty. Keep a copy and look at it with `throttle store verify`; then \
         restore a backup, or move the file away to start with a new one, and with a grace period"
    );
    assert_eq!(fs::read(empty).unwrap(), b"");
    assert_eq!(
        refusal(&directory, directory.path()),
        "the store DIR cannot be opened: Is a directory (os error 21): give the path of a file in it"
    );
}

/// D5
#[test]
fn a_truncated_store_is_refused() {
    let directory = directory();
    let path = filled(&directory);
    let whole = fs::read(&path).unwrap();
    for length in [1, 100, 320, 4096, 4097, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let message = refusal(&directory, &path);
        assert!(message.starts_with("the store DIR/it.redb is "), "{length}: {message}");
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(load(&mut Embedded::open(&path).unwrap()).unwrap().1, records());
}

#[test]
fn an_instant_of_the_wall_clock_may_be_any_number() -> Result<(), StoreError> {
    let directory = directory();
    let mut store = Embedded::open(filled(&directory))?;
    let meta = throttle_runtime::Meta { made_at: UnixTime(u64::MAX), ..META };
    store.write(&Batch { meta: Some(meta), ..Batch::default() })?;
    assert_eq!(load(&mut store)?.0, Some(meta));
    Ok(())
}

/// A store there would keep nothing.
#[cfg(unix)]
#[test]
fn devices_and_links_to_nothing_are_refused_and_nothing_is_left() {
    let directory = directory();
    let device = Path::new("/dev/null");
    let regular = "is not a regular file: give the path of one, or of none";
    assert_eq!(refusal(&directory, device), format!("the store /dev/null {regular}"));
    let error =
        crate::StateFile::open(Path::new("/dev/zero"), UnixTime(0)).unwrap_err().to_string();
    assert_eq!(error, format!("the state file /dev/zero {regular}"));
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("nothing", &link).unwrap();
    let error = refusal(&directory, &link);
    assert!(error.contains("it is a link to a file that does not exist"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// D8: a second server could make another store at the path, and this one would not be found again.
#[cfg(unix)]
#[test]
fn a_store_that_is_moved_or_deleted_while_it_is_open_takes_no_further_batch()
-> Result<(), StoreError> {
    let directory = directory();
    let path = filled(&directory);
    let aside = directory.path().join("aside");
    for replace in [false, true] {
        let mut store = Embedded::open(&path)?;
        store.write(&batch())?;
        fs::rename(&path, &aside).unwrap();
        if replace {
            drop(Embedded::open(&path)?);
        }
        let error = store.write(&batch()).unwrap_err().to_string();
        assert!(error.contains("was moved or deleted while it was in use"), "{error}");
        drop(store);
        fs::rename(&aside, &path).unwrap();
        assert_eq!(load(&mut Embedded::open(&path)?)?, (Some(META), records()));
    }
    Ok(())
}

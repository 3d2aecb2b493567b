//! Exports, imports, the state file, and the verification of all kinds of files.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    Archive, Counts, Embedded, Records as _, StateFile, export, import, open_read_only, verify,
};
use expect_test::expect;
use tempfile::TempDir;
use throttle_core::Ticket;
use throttle_runtime::{
    Batch, Meta, PeerChange, PeerRecord, Record, Store as _, StoreError, UnixTime, token_floor_at,
};

use super::samples::{META, absent, bare, batch, gone, id, living, load, peer, records, token};

/// When exports and state files of these tests are written: 1 December 2026.
const NOW: UnixTime = UnixTime(1_796_083_200_000);

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A message without the name of the directory.
    fn message(&self, error: &StoreError) -> String {
        error.to_string().replace(self.0.path().to_str().unwrap(), "DIR")
    }

    /// A store with this in it, closed.
    fn store(&self, batch: &Batch) -> PathBuf {
        let path = self.path("it.redb");
        Embedded::open(&path).unwrap().write(batch).unwrap();
        path
    }

    /// A state file with this in it.
    fn state_file(&self, batch: &Batch) -> PathBuf {
        let path = self.path("state");
        let mut file = StateFile::create(&path, NOW).unwrap();
        file.write(batch).unwrap();
        file.finish().unwrap();
        path
    }
}

/// A batch of what a server can hold.
fn sound() -> Batch {
    let holder = PeerRecord { pending: None, ..peer(1) };
    let mut waiter = PeerRecord { held: Vec::new(), ..peer(2) };
    waiter.pending.as_mut().unwrap().ticket = Ticket::new(5);
    Batch { peers: vec![living(holder), living(waiter), gone(absent(9))], ..batch() }
}

fn text(path: &PathBuf) -> String {
    let mut out = Vec::new();
    export(&open_read_only(path).unwrap(), NOW, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_export_is_a_line_for_each_record_between_a_header_and_the_counts() {
    let place = Place::new();
    expect![[r#"
        {"header":{"format":1,"id":18369614221190020847,"made_at_ms":1764336000000,"token_floor":7,"written_at_ms":1796083200000}}
        {"semaphore":{"name":"","last_token":9,"max":12,"level":-3}}
        {"semaphore":{"name":"a/b c","last_token":9,"max":12,"level":-3}}
        {"semaphore":{"name":"db","last_token":9,"max":12,"level":-3}}
        {"peer":{"id":1,"expires_in":"30s 5ns","labels":{"host":"wörker \"7\"","job":""},"sequence":1,"held":[{"semaphore":"db","count":1,"token":1,"since_ms":1764336000001}],"pending":{"semaphore":"a/b c","count":9007199254740991,"ticket":18446744073709551615,"since_ms":18446744073709551615}}}
        {"peer":{"id":3,"expires_in":"30s 5ns","labels":{"host":"wörker \"7\"","job":""},"sequence":3,"held":[{"semaphore":"db","count":3,"token":3,"since_ms":1764336000001}],"pending":{"semaphore":"a/b c","count":9007199254740991,"ticket":18446744073709551615,"since_ms":18446744073709551615}}}
        {"peer":{"id":18446744073709551615,"expires_in":"0s"}}
        {"absent":{"peer":2,"sequence":9007199254740991,"since_ms":1}}
        {"end":{"semaphores":3,"peers":3,"absent":1,"longest_lease":"30s 5ns"}}
        {"crc32":251484559}
    "#]]
    .assert_eq(&text(&place.store(&batch())));
}

#[test]
fn the_documented_export_can_be_imported() -> Result<(), StoreError> {
    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/design/records.md");
    let documented = fs::read_to_string(documented).unwrap();
    let (_, export) = documented.split_once("```json\n").unwrap();
    let (export, _) = export.split_once("```").unwrap();
    let place = Place::new();
    let path = place.path("it.redb");
    let counts = import(&mut export.as_bytes(), &path, NOW)?;
    assert_eq!(counts, Counts { semaphores: 1, peers: 2, absent: 1 });
    assert_eq!(verify(&path)?.counts, counts);
    Ok(())
}

#[test]
fn an_import_makes_a_store_with_what_was_exported_and_continues_above_all_tokens_of_the_meantime()
-> Result<(), StoreError> {
    let place = Place::new();
    let original = place.store(&sound());
    let text = text(&original);
    let path = place.path("imported.redb");
    let counts = import(&mut text.as_bytes(), &path, NOW)?;
    assert_eq!(counts, Counts { semaphores: 3, peers: 2, absent: 1 });
    let floor = token_floor_at(NOW);
    let (_, records) = load(&mut Embedded::open(&original)?)?;
    let expected = records.into_iter().map(|record| match record {
        Record::Semaphore(mut semaphore) => {
            semaphore.last_token = floor;
            Record::Semaphore(semaphore)
        }
        other => other,
    });
    let meta = Meta { made_at: NOW, token_floor: floor, ..META };
    assert_eq!(load(&mut Embedded::open(&path)?)?, (Some(meta), expected.collect()));
    Ok(())
}

#[test]
fn an_export_that_is_not_whole_makes_no_store() {
    let place = Place::new();
    let text = text(&place.store(&sound()));
    let path = place.path("imported.redb");
    let refuse = |text: &str| {
        let error = import(&mut text.as_bytes(), &path, NOW).unwrap_err();
        let others = fs::read_dir(place.0.path()).unwrap().count();
        assert_eq!(others, 1, "nothing is left");
        place
            .message(&error)
            .replace("the export is damaged: ", "")
            .replace(": no store was made", "")
    };
    let lines: Vec<&str> = text.lines().collect();
    let without = |number: usize| {
        let rest = lines.iter().enumerate().filter(|(index, _)| *index != number);
        rest.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let edited = |from: &str, to: &str| text.rsplit_once("{\"crc32\"").unwrap().0.replace(from, to);
    expect!["line 1: the text ends here, before the line that counts the others"]
        .assert_eq(&refuse(""));
    expect!["line 4: the text ends here, before the line that counts the others"]
        .assert_eq(&refuse(&lines[..3].join("\n").replace(lines[2], &format!("{}\n", lines[2]))));
    expect!["line 1: it is not the header"].assert_eq(&refuse(&without(0)));
    expect!["line 7: it says that there are 3 semaphores, 2 peers and 1 absent peers, but there are 3 semaphores, 1 peers and 1 absent peers"].assert_eq(&refuse(&without(4)));
    expect!["line 9: the checksum is wrong: a line before was changed (an export that was edited on purpose must not have this line)"].assert_eq(&refuse(&text.replace("\"count\":1,", "\"count\":4,")));
    expect!["line 10: it comes after the last one"].assert_eq(&refuse(&format!("{text}{{}}\n")));
    expect!["line 5: 0 is not a count"].assert_eq(&refuse(&edited("\"count\":1,", "\"count\":0,")));
    expect!["it has a record twice"].assert_eq(&refuse(&edited("\"id\":2", "\"id\":1")));
    expect!["line 6: unknown field `age`, expected one of `id`, `expires_in`, `labels`, `sequence`, `held`, `pending`, at byte 14"].assert_eq(&refuse(&edited("\"id\":2", "\"age\":2")));
    expect!["line 5: expected number at 0, at byte 35"]
        .assert_eq(&refuse(&edited("30s 5ns", "soon")));
    expect!["the export has format 2, which this version of Throttle does not read: use the version that wrote it"].assert_eq(&refuse(&edited("\"format\":1", "\"format\":2,\"new\":3")));
    // Each record can be read, but a server could not start with all of them.
    expect![[r#"the export can be read, but no server can be in this state: peer 2 has a lock of semaphore "x", which has no record"#]].assert_eq(&refuse(&edited(
        "\"pending\":{\"semaphore\":\"a/b c\"",
        "\"pending\":{\"semaphore\":\"x\"",
    )));
    import(&mut edited("\"count\":1,", "\"count\":4,").as_bytes(), &path, NOW).unwrap();
    let error = import(&mut text.as_bytes(), &path, NOW).unwrap_err();
    expect!["the store DIR/imported.redb exists already: move it away, or give another path"]
        .assert_eq(&place.message(&error));
}

#[test]
fn a_state_file_gives_back_what_was_written_to_it() -> Result<(), StoreError> {
    let place = Place::new();
    let path = place.state_file(&Batch { peers: Vec::new(), ..batch() });
    let mut sorted = batch();
    sorted.peers.sort_by_key(|(id, change)| (matches!(change, PeerChange::Absent(_)), *id));
    sorted.semaphores.sort_by_key(|(name, _)| Arc::clone(name));
    let mut file = StateFile::create(&path, NOW)?;
    file.write(&Batch { peers: Vec::new(), ..sorted.clone() })?;
    file.write(&Batch { peers: sorted.peers, ..Batch::default() })?;
    assert_eq!(file.finish()?, Counts { semaphores: 3, peers: 3, absent: 1 });
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 1, "nothing is left beside it");

    let mut file = StateFile::open(&path, NOW)?.expect("it exists");
    assert_eq!(file.written_at(), NOW);
    assert_eq!(load(&mut file)?, (Some(META), records()));
    assert_eq!(load(&mut file)?, (Some(META), records()), "also a second time");
    Ok(())
}

#[test]
fn a_state_file_gets_its_name_when_it_is_complete() -> Result<(), StoreError> {
    let place = Place::new();
    let path = place.state_file(&sound());
    let before = fs::read(&path).unwrap();
    let mut file = StateFile::create(&path, NOW)?;
    file.write(&Batch { meta: Some(META), ..Batch::default() })?;
    assert_eq!(fs::read(&path).unwrap(), before);
    drop(file); // As if the process was killed.
    assert_eq!(fs::read(&path).unwrap(), before);
    Ok(())
}

#[test]
fn a_state_file_that_is_removed_is_not_there() -> Result<(), StoreError> {
    let place = Place::new();
    let path = place.state_file(&sound());
    StateFile::remove(&path)?;
    assert!(StateFile::open(&path, NOW)?.is_none());
    StateFile::remove(&path)
}

#[test]
fn a_state_file_that_was_changed_or_cut_is_refused_as_a_whole() {
    let place = Place::new();
    let path = place.state_file(&sound());
    let whole = fs::read(&path).unwrap();
    for position in (0..whole.len()).rev().step_by(3) {
        let mut changed = whole.clone();
        changed[position] ^= 4;
        fs::write(&path, changed).unwrap();
        let error = StateFile::open(&path, NOW).and_then(|file| load(&mut file.unwrap()));
        assert!(error.is_err(), "byte {position}");
        fs::write(&path, &whole[..position]).unwrap();
        assert!(StateFile::open(&path, NOW).is_err(), "the first {position} bytes");
    }
    expect!["the state file DIR/state is damaged: line 1: the text ends here, before the line that counts the others: none of it was used; move it away to start without it"].assert_eq(&place.message(&StateFile::open(&path, NOW).unwrap_err()));
}

/// The longest lease of its peers is 30 seconds.
#[test]
fn a_state_file_is_stale_when_no_peer_can_count_on_it() -> Result<(), StoreError> {
    let place = Place::new();
    let path = place.state_file(&sound());
    StateFile::open(&path, UnixTime(NOW.0 + 30_000))?;
    StateFile::open(&path, UnixTime(NOW.0 - 1_000_000))?;
    let error = StateFile::open(&path, UnixTime(NOW.0 + 100_900)).unwrap_err();
    expect!["the state file DIR/state is stale: it was written 1m 40s ago, and the longest lease in it is 30s 5ns, so its peers have given up their locks: delete it to start without them"].assert_eq(&place.message(&error));

    let path = place.state_file(&Batch { peers: vec![gone(absent(1))], ..batch() });
    assert!(StateFile::open(&path, UnixTime(u64::MAX))?.is_some(), "it has no peers");
    Ok(())
}

#[test]
fn a_state_file_begins_with_the_meta_record_and_forgets_nothing() -> Result<(), StoreError> {
    let place = Place::new();
    let path = place.path("state");
    let mut file = StateFile::create(&path, NOW)?;
    expect!["the state file DIR/state cannot be written: a state file cannot begin without the meta record"].assert_eq(&place.message(&file.write(&Batch::default()).unwrap_err()));
    file.write(&Batch { meta: Some(META), ..Batch::default() })?;
    let gone = Batch { peers: vec![(id(1), PeerChange::Gone)], ..Batch::default() };
    expect!["the state file DIR/state cannot be written: a state file cannot forget a peer"]
        .assert_eq(&place.message(&file.write(&gone).unwrap_err()));
    expect!["the state file DIR/state was given no records"]
        .assert_eq(&place.message(&StateFile::create(&path, NOW)?.finish().unwrap_err()));
    Ok(())
}

#[test]
fn reading_a_store_changes_nothing_also_after_a_crash() -> Result<(), StoreError> {
    let place = Place::new();
    let path = place.path("it.redb");
    let mut store = Embedded::open(&path)?;
    store.write(&sound())?;
    let error = place.message(&open_read_only(&path).unwrap_err());
    expect!["the store DIR/it.redb is in use by a server: stop it, or ask it for a copy with `throttle store backup`"]
        .assert_eq(&error);
    // What SIGKILL leaves: nothing says that the file was closed.
    let crashed = place.path("crashed.redb");
    fs::copy(&path, &crashed).unwrap();
    let before = fs::read(&crashed).unwrap();
    let archive = open_read_only(&crashed)?;
    assert!(matches!(archive, Archive::Store(_)));
    assert_eq!(archive.counts()?, Counts { semaphores: 3, peers: 2, absent: 1 });
    assert_eq!(archive.meta()?, Some(META));
    assert_eq!(fs::read(&crashed).unwrap(), before);
    let verified = verify(&crashed)?;
    assert_eq!((verified.held, verified.awaited), (1, 1));
    assert_eq!(verified.meta, Some(META));
    Ok(())
}

#[test]
fn a_state_file_can_be_verified_and_imported_like_an_export() -> Result<(), StoreError> {
    let place = Place::new();
    let path = place.state_file(&sound());
    assert_eq!(verify(&path)?.counts, Counts { semaphores: 3, peers: 2, absent: 1 });
    let imported = place.path("imported.redb");
    import(&mut &fs::read(&path).unwrap()[..], &imported, NOW)?;
    verify(&imported).map(drop)
}

#[test]
fn a_state_in_which_no_server_can_be_is_found() {
    let place = Place::new();
    let found = |peers: Vec<PeerRecord>| {
        let path = place.path("it.redb");
        fs::remove_file(&path).ok();
        let peers = peers.into_iter().map(living).collect();
        place.message(&verify(place.store(&Batch { peers, ..batch() })).unwrap_err())
    };
    let mut unknown = PeerRecord { pending: None, ..peer(1) };
    unknown.held[0].semaphore = Arc::from("elsewhere");
    expect![[r#"DIR/it.redb can be read, but no server can be in this state: peer 1 has a lock of semaphore "elsewhere", which has no record"#]].assert_eq(&found(vec![unknown]));
    let holder = PeerRecord { pending: None, ..peer(1) };
    let other = PeerRecord { held: holder.held.clone(), ..bare(2) };
    expect![[r#"DIR/it.redb can be read, but no server can be in this state: peer 2 has the token of another holder of semaphore "db": 1"#]].assert_eq(&found(vec![holder, other]));
    let mut twice = PeerRecord { pending: None, ..peer(1) };
    twice.held.push(twice.held[0].clone());
    twice.held[1].token = token(2);
    expect![[r#"DIR/it.redb can be read, but no server can be in this state: peer 1 holds semaphore "db" twice"#]].assert_eq(&found(vec![twice]));
}

#[test]
fn every_lease_survives_the_text() -> Result<(), StoreError> {
    let place = Place::new();
    for lease in
        [Duration::MAX, Duration::from_nanos(1), Duration::from_secs(31_557_600 * 3 + 86_399)]
    {
        let record = PeerRecord { expires_in: lease, ..bare(1) };
        let path = place.state_file(&Batch { peers: vec![living(record.clone())], ..batch() });
        let (_, records) = load(&mut StateFile::open(&path, NOW)?.expect("it exists"))?;
        assert_eq!(records.last(), Some(&Record::Peer(record)));
    }
    Ok(())
}

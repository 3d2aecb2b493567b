//! The program as a process, against the floor: what it measures, and what it must find out.

use std::{fs, process::Command};

const FLOOR: &str = env!("CARGO_BIN_EXE_throttle-floor");

/// Runs one study for an instant. Returns whether it succeeded, and all that it said.
fn study(name: &str, options: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throttle-bench"));
    command.args(["--quick", "--empty", "--no-pin", "--rounds", "1", "--seconds", "0.02"]);
    let output = command.args(["--study", name]).args(options).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// A check of exclusion that has never failed shows nothing. The floor without a rota lets in
/// everybody at once; here it stands where a server of semaphores should be.
#[test]
fn a_server_that_grants_twice_is_found_out() {
    let (succeeded, said) = study("contention", &["--ours", FLOOR]);
    assert!(!succeeded);
    assert!(said.contains("was granted the lock while"), "{said}");
}

#[test]
fn a_server_that_keeps_no_queue_is_found_out() {
    let (succeeded, said) = study("queue", &["--ours", FLOOR]);
    assert!(!succeeded);
    assert!(said.contains("the server answered 200"), "{said}");
}

#[test]
fn on_a_rota_everybody_has_their_turn() {
    for name in ["contention", "queue"] {
        let (succeeded, said) = study(name, &["--floor", FLOOR]);
        assert!(succeeded && said.contains("| grants/s |"), "{said}");
    }
}

#[test]
fn what_was_measured_is_written_as_tables_as_json_and_as_a_picture() {
    let out = tempfile::tempdir().unwrap();
    let directory = out.path().to_str().unwrap();
    let (succeeded, said) = study("contention", &["--floor", FLOOR, "--out", directory]);
    assert!(succeeded, "{said}");
    let text = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&text("figures.json")).unwrap();
    assert_eq!(figures["figures"][0]["question"], "contend");
    assert!(figures["figures"][0]["median"].as_f64().unwrap() > 0.0);
    assert!(text("tables.md").contains("| hand-over among 16: p50 / floor "));
    assert!(text("hand-over.svg").contains("16 contenders, p50 µs: floor"));
}

/// That nobody had to wait means nothing if nothing happened. The floor lets nobody expire.
#[test]
fn a_server_at_which_nothing_happens_is_found_out() {
    let (succeeded, said) = study("pauses", &["--ours", FLOOR, "--concerned", "100"]);
    assert!(!succeeded);
    assert!(said.contains("a peer outlived its lease"), "{said}");
}

#[test]
fn the_tail_of_each_scenario_is_reported() {
    let (succeeded, said) = study("throughput", &["--floor", FLOOR]);
    assert!(succeeded, "{said}");
    let tables: Vec<_> = said.split("\n\n").collect();
    for measure in ["p50 µs", "p99 µs", "p99.9 µs"] {
        let table = tables.iter().find(|table| table.starts_with(&format!("| {measure} ")));
        let table = table.unwrap_or_else(|| panic!("no table of {measure}: {said}"));
        for scenario in ["cycle", "lock", "heartbeat", "roam"] {
            assert!(table.contains(&format!("| {scenario} ")), "{said}");
        }
    }
}

#[test]
fn without_a_server_there_is_nothing_to_measure() {
    let (succeeded, said) = study("contention", &[]);
    assert!(!succeeded && said.contains("name the program of a server"), "{said}");
}

//! Runs the program against the floor: what it measures, and which faults of a server it must detect.

use std::{fs, process::Command};

const FLOOR: &str = env!("CARGO_BIN_EXE_throttle-floor");

/// Runs one study for an instant. Returns whether it succeeded, and its output.
fn study(name: &str, options: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throttle-bench"));
    command.args(["--quick", "--empty", "--no-pin", "--rounds", "1", "--seconds", "0.02"]);
    let output = command.args(["--study", name]).args(options).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// A check that never fails proves nothing. Without a rota, the floor grants a lock to everybody at once;
/// here it takes the place of our server.
#[test]
fn a_server_that_grants_a_lock_twice_is_detected() {
    let (succeeded, output) = study("contention", &["--ours", FLOOR]);
    assert!(!succeeded);
    assert!(output.contains("was granted the lock while"), "{output}");
}

#[test]
fn a_server_without_a_queue_is_detected() {
    let (succeeded, output) = study("queue", &["--ours", FLOOR]);
    assert!(!succeeded);
    assert!(output.contains("the server answered 200"), "{output}");
}

#[test]
fn the_rota_of_the_floor_serves_all_participants() {
    for name in ["contention", "queue"] {
        let (succeeded, output) = study(name, &["--floor", FLOOR]);
        assert!(succeeded && output.contains("| grants/s |"), "{output}");
    }
}

#[test]
fn figures_are_written_as_tables_as_json_and_as_a_plot() {
    let out = tempfile::tempdir().unwrap();
    let directory = out.path().to_str().unwrap();
    let (succeeded, output) = study("contention", &["--floor", FLOOR, "--out", directory]);
    assert!(succeeded, "{output}");
    let text = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&text("figures.json")).unwrap();
    assert_eq!(figures["figures"][0]["question"], "contend");
    assert!(figures["figures"][0]["median"].as_f64().unwrap() > 0.0);
    assert!(text("tables.md").contains("| hand-over among 16: p50 / floor "));
    assert!(text("hand-over.svg").contains("16 contenders, p50 µs: floor"));
}

/// Short pauses mean nothing if the event did not happen. No peer expires at the floor.
#[test]
fn a_server_at_which_no_lease_ends_is_detected() {
    let (succeeded, output) = study("pauses", &["--ours", FLOOR, "--concerned", "100"]);
    assert!(!succeeded);
    assert!(output.contains("a peer outlived its lease"), "{output}");
}

#[test]
fn the_tail_of_each_scenario_is_reported() {
    let (succeeded, output) = study("throughput", &["--floor", FLOOR]);
    assert!(succeeded, "{output}");
    let tables: Vec<_> = output.split("\n\n").collect();
    for measure in ["p50 µs", "p99 µs", "p99.9 µs"] {
        let table = tables.iter().find(|table| table.starts_with(&format!("| {measure} ")));
        let table = table.unwrap_or_else(|| panic!("no table of {measure}: {output}"));
        for scenario in ["cycle", "lock", "heartbeat", "roam"] {
            assert!(table.contains(&format!("| {scenario} ")), "{output}");
        }
    }
}

#[test]
fn without_a_server_there_is_nothing_to_measure() {
    let (succeeded, output) = study("contention", &[]);
    assert!(!succeeded && output.contains("name the program of a server"), "{output}");
}

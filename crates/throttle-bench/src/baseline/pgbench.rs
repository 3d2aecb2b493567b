//! The scenarios as scripts of pgbench, and what its log says about them.
//!
//! Each run of a script is one request: one statement that commits by itself. A variable of the connection says
//! which request of the scenario comes next. A statement that changes no row ends the run with an error, so that a
//! lock that was not granted cannot pass for one.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};

use crate::load::{Latencies, Scenario};

/// What a run of pgbench measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) latencies: Latencies,
}

/// The script of a scenario: its requests in turn.
pub(super) fn script(scenario: Scenario) -> String {
    use std::fmt::Write as _;
    let steps: &[&str] = match scenario {
        Scenario::Cycle => &[NEW_PEER, ACQUIRE, RELEASE, REMOVE_PEER],
        Scenario::Heartbeat | Scenario::Roam => &[HEARTBEAT],
        Scenario::Lock | Scenario::Queue => &[ACQUIRE, RELEASE],
    };
    let mut text = String::new();
    for (step, statement) in steps.iter().enumerate() {
        let branch = if step == 0 { "if" } else { "elif" };
        let next = (step + 1) % steps.len();
        writeln!(text, "\\{branch} :step = {step}\n{statement} \\gset\n\\set step {next}")
            .expect("memory takes every byte");
    }
    text + "\\endif\n"
}

/// Reads and removes the log that a run of pgbench left. The first requests of a connection do not count, because
/// they prepare their statements.
pub(super) fn read_log(prefix: &Path, preparing: u8) -> anyhow::Result<Measured> {
    let (directory, name) = prefix.parent().zip(prefix.file_name()).context("a path to a file")?;
    let mut text = String::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.file_stem() == Some(name) {
            text.push_str(&fs::read_to_string(&path)?);
            fs::remove_file(path)?;
        }
    }
    parse_log(&text, preparing)
}

/// Parses lines with the connection, the number of its request, the time that it took in microseconds, the number
/// of the script, and when it ended in seconds and microseconds.
fn parse_log(text: &str, preparing: u8) -> anyhow::Result<Measured> {
    let mut latencies = Latencies::new();
    let (mut first, mut last) = (u64::MAX, 0);
    for line in text.lines() {
        let fields: Vec<u64> = line.split(' ').map_while(|field| field.parse().ok()).collect();
        let &[_, number, micros, _, seconds, rest] = &*fields else {
            anyhow::bail!("not a line of pgbench's log: {line}")
        };
        if number <= u64::from(preparing) {
            continue;
        }
        let end = seconds * 1_000_000 + rest;
        (first, last) = (first.min(end - micros), last.max(end));
        latencies.record(std::time::Duration::from_micros(micros));
    }
    ensure!(latencies.count() > 0, "pgbench has no request in its log");
    let rate = latencies.count() as f64 / ((last - first) as f64 / 1e6);
    Ok(Measured { rate, latencies })
}

const NEW_PEER: &str =
    "insert into peer values (:client_id, now() + interval '12h') returning 1 as done";
const HEARTBEAT: &str =
    "update peer set expires = now() + interval '12h' where id = :client_id returning 1 as done";
const ACQUIRE: &str = "insert into lease values ('ample/' || :client_id, :client_id, \
    now() + interval '12h') on conflict (name) do update set holder = excluded.holder, \
    expires = excluded.expires where lease.expires < now() returning 1 as done";
const RELEASE: &str = "delete from lease where name = 'ample/' || :client_id \
    and holder = :client_id returning 1 as done";
const REMOVE_PEER: &str = "delete from peer where id = :client_id returning 1 as done";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_one_statement_for_each_request() {
        let script = script(Scenario::Heartbeat);
        let lines: Vec<&str> = script.lines().collect();
        assert_eq!(lines[0], "\\if :step = 0");
        assert!(lines[1].starts_with("update peer") && lines[1].ends_with("\\gset"));
        assert_eq!(lines[2..], ["\\set step 0", "\\endif"]);
    }

    #[test]
    fn the_log_gives_rate_and_latencies_without_the_requests_that_prepare() {
        let log = "0 1 90000 0 10 500000\n0 2 1000 0 10 501000\n1 2 3000 0 10 504000\n";
        let measured = parse_log(log, 1).unwrap();
        assert_eq!(measured.latencies.count(), 2);
        assert!((measured.rate - 500.0).abs() < 1e-9, "two requests in 4 ms: {}", measured.rate);
        assert!((2_990.0..3_010.0).contains(&measured.latencies.longest()));
    }

    #[test]
    fn a_log_without_requests_or_with_other_lines_is_an_error() {
        assert!(parse_log("0 1 90000 0 10 500000\n", 1).is_err());
        assert!(parse_log("0 1 failed 0 10 500000\n", 1).is_err());
    }
}

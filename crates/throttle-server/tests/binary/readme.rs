//! The commands of the README, run with a shell and `curl`.

use std::{net::TcpListener, process::Command};

use tempfile::TempDir;

use crate::support::{Server, text};

const README: &str = include_str!("../../../../README.md");
const DURABLE: &str = include_str!("../../../../configs/durable.toml");
const CONFIG: &str = include_str!("../../../../configs/throttle.toml");

#[test]
fn the_five_minutes_with_curl_work_as_the_readme_says() {
    let server = Server::start(CONFIG);
    let script = shell_lines("## Five minutes with curl");
    assert!(script.matches("curl").count() > 7, "some blocks were not found: {script}");
    assert!(!script.contains("--json"), "curl before 7.82 does not know that option");
    let script = script.replace("localhost:8000", &server.address.to_string());

    let output = Command::new("sh").args(["-euc", &script]).output().unwrap();

    let (printed, complaints) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{complaints}");
    assert_eq!(printed.matches(r#""acquired":true,"fencing_token":"#).count(), 2, "{printed}");
    assert!(printed.contains(r#""held_by":[{"peer_id":"#), "{printed}");
    assert!(printed.ends_with(r#"Ok"Peer released""Peer released""#), "{printed}");
    assert_eq!(server.request("GET", "/peers", "").1, "[]");
}

/// D1, D2: as the README shows it.
#[test]
fn the_lock_of_the_readme_survives_its_kill() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("durable.toml"), DURABLE).unwrap();
    // A port that was free a moment ago: both servers must have the same.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = format!(
        "{} --address 127.0.0.1 --port {} -c durable.toml",
        env!("CARGO_BIN_EXE_throttle"),
        address.port()
    );
    let script = shell_lines("## Surviving a restart")
        .replace(
            "cargo install --path crates/throttle-server",
            "json='Content-Type: application/json'",
        )
        .replace("throttle -c configs/durable.toml", &server)
        .replace("--retry 9", "--retry 9 --retry-delay 1")
        .replace("localhost:8000", &address.to_string());
    // A server that outlives a failed script would keep its output open, and this test waiting for that.
    let script = format!("trap 'kill $! 2> /dev/null' EXIT\n{script}");

    let mut shell = Command::new("sh");
    let output = shell.args(["-euc", &script]).current_dir(directory.path()).output().unwrap();

    let (printed, complaints) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{complaints}");
    let token = |text: &str| {
        let (_, rest) = text.split_once(r#""fencing_token":"#).expect("a token");
        rest.chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    let (granted, recovered) = printed.split_once('}').unwrap();
    assert_eq!(token(granted), token(recovered), "{printed}");
    assert!(complaints.contains("peers=1 locks=1"), "{complaints}");
}

/// The blocks of shell in the section with this heading, as one script.
fn shell_lines(heading: &str) -> String {
    let (_, section) = README.split_once(heading).expect("the README has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```bash\n").skip(1);
    let scripts: Vec<&str> = blocks.filter_map(|block| block.split("```").next()).collect();
    assert!(!scripts.is_empty(), "no block was found");
    scripts.concat()
}

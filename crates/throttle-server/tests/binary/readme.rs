//! The first five minutes of the README, run with a shell and `curl`.

use std::process::Command;

use crate::support::{Server, text};

const README: &str = include_str!("../../../../README.md");
const CONFIG: &str = include_str!("../../../../configs/throttle.toml");

#[test]
fn the_five_minutes_with_curl_work_as_the_readme_says() {
    let server = Server::start(CONFIG);
    let script = shell_lines("## Five minutes with curl");
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

/// The blocks of shell in the section with this heading, as one script.
fn shell_lines(heading: &str) -> String {
    let (_, section) = README.split_once(heading).expect("the README has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```bash\n").skip(1);
    let scripts: Vec<&str> = blocks.filter_map(|block| block.split("```").next()).collect();
    assert!(scripts.len() > 3, "some blocks were not found");
    scripts.concat()
}

//! Completions in bash.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use axum::{Router, routing::get};

use crate::support::{TestServer, run};

/// The candidates that bash offers for the last word.
fn offered(server: &TestServer, words: &[&str]) -> Vec<String> {
    let script = r#"
        source <(throttlectl completions bash)
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        _clap_complete_throttlectl throttlectl "${COMP_WORDS[COMP_CWORD]}" ""
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", "throttlectl"]).args(words).stdin(Stdio::null());
    let directory = Path::new(env!("CARGO_BIN_EXE_throttlectl")).parent().unwrap().display();
    command.env("PATH", format!("{directory}:{}", env::var("PATH").unwrap()));
    command.env("THROTTLE_URL", &server.url).env("NO_PROXY", "*");
    let (code, stdout, stderr) = run(&mut command);
    assert_eq!((code, &*stderr), (0, ""));
    stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_offers_commands_options_values_and_semaphores() {
    let server = TestServer::new();
    assert_eq!(offered(&server, &["sema"]), ["semaphores", "semaphore"]);
    assert_eq!(offered(&server, &["semaphore", ""])[..2], ["A", "B"]);
    assert_eq!(offered(&server, &["available", "A", "B"]), ["B"]);
    assert_eq!(offered(&server, &["check", "B"]), ["B"]);
    assert_eq!(offered(&server, &["lock", "--nonb"]), ["--nonblocking"]);
    assert_eq!(offered(&server, &["lock", "A"]), ["A"]);
    assert_eq!(offered(&server, &["lock", "B:2", "A"]), ["A"]);
    assert_eq!(offered(&server, &["semaphores", "--output", ""]), ["json", "table"]);
    let commands = offered(&server, &[""]);
    assert!(commands.contains(&"lock".to_owned()), "{commands:?}");
    assert!(commands.iter().all(|it| !it.starts_with('_')), "{commands:?}");
    assert_eq!(offered(&server, &["__"]), Vec::<String>::new(), "hidden commands are not offered");
}

#[test]
fn after_two_dashes_bash_offers_commands_and_files_and_no_options() {
    let server = TestServer::new();
    let offers = offered(&server, &["lock", "A", "--", "--"]);
    assert_eq!(offers, Vec::<String>::new());
    let offers = offered(&server, &["lock", "A", "--", "bas"]);
    assert!(offers.contains(&"bash".to_owned()), "{offers:?}");
    let offers = offered(&server, &["lock", "A", "--", "cat", "Cargo.to"]);
    assert_eq!(offers, ["Cargo.toml"]);
}

#[test]
fn without_a_server_bash_still_offers_options() {
    let server = TestServer::new();
    let words = ["semaphore", "--url", "http://127.0.0.1:9", ""];
    let offers = offered(&server, &words);
    assert!(
        !offers.contains(&"A".to_owned()) && offers.contains(&"--output".to_owned()),
        "{offers:?}"
    );
}

/// The shell inserts a completion unescaped.
#[test]
fn a_name_with_special_characters_of_shells_is_not_offered() {
    let names = ["good", "$(reboot)", "a b", "a;b", "`x`", "-x", "a'b", "a\\nb"];
    let semaphore = |name: &str| {
        format!(
            r#"{{"name":"{name}","max":1,"held":0,"pending":0,"remainder":1,"longest_pending":"0s"}}"#
        )
    };
    let body = format!("[{}]", names.map(semaphore).join(","));
    let server = TestServer::with_routes(|| {
        let routes = Router::new().route("/version", get(async || "0.6.0"));
        routes.route("/semaphores", get(async move || body))
    });
    let offers = offered(&server, &["semaphore", ""]);
    assert!(offers.iter().all(|it| it == "good" || it.starts_with('-')), "{offers:?}");
    assert!(offers.contains(&"good".to_owned()));
}

//! The manual page and completions.

use std::process::{Command, Stdio};

use crate::support::{World, run, throttlectl};

#[test]
fn the_manual_tells_everything_about_every_command() {
    let (code, page, _) = run(&mut throttlectl("http://localhost", &["man"]));
    assert_eq!(code, 0);
    for section in [
        "NAME",
        "SYNOPSIS",
        "OPTIONS",
        "LOCK",
        "REMOVE-PEER",
        "\"EXIT STATUS\"",
        "ENVIRONMENT",
        "EXAMPLES",
    ] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section} is missing");
    }
    for word in [
        "64",
        "67",
        "69",
        "71",
        "74",
        "75",
        "76",
        "78",
        "126",
        "127",
        "128+N",
        "nonblocking",
        "THROTTLE_TOKEN",
    ] {
        assert!(page.contains(word), "{word} is missing");
    }
    assert!(!page.contains("bond"), "that is nobody's business");
    let pages = page.lines().filter(|line| line.contains("(1)") || line.contains("\\-lock("));
    assert_eq!(pages.collect::<Vec<_>>(), Vec::<&str>::new(), "there are no other pages");
    let urls = page.lines().filter(|line| line.contains("\\fB\\-\\-url\\fR \\fI"));
    assert_eq!(urls.count(), 1, "what all commands have is told once");
}

/// What bash would offer for the last of these words.
fn offered(world: &World, words: &[&str]) -> Vec<String> {
    let script = r#"
        source <("$THROTTLECTL" completions bash)
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        _clap_complete_throttlectl throttlectl "${COMP_WORDS[COMP_CWORD]}" ""
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", "throttlectl"]).args(words).stdin(Stdio::null());
    command.env("THROTTLECTL", env!("CARGO_BIN_EXE_throttlectl"));
    command.env("THROTTLE_URL", &world.url).env("NO_PROXY", "*");
    let (code, stdout, stderr) = run(&mut command);
    assert_eq!((code, &*stderr), (0, ""));
    stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn bash_offers_what_fits() {
    let world = World::new();
    assert_eq!(offered(&world, &["sema"]), ["semaphores", "semaphore"]);
    assert_eq!(offered(&world, &["semaphore", ""])[..2], ["A", "B"]);
    assert_eq!(offered(&world, &["check", "A", "B"]), ["B"]);
    assert_eq!(offered(&world, &["lock", "--nonb"]), ["--nonblocking"]);
    assert_eq!(offered(&world, &["lock", "A"]), ["A"]);
    assert_eq!(offered(&world, &["semaphores", "--output", ""]), ["json", "table"]);
    let commands = offered(&world, &[""]);
    assert!(commands.contains(&"lock".to_owned()), "{commands:?}");
    assert!(commands.iter().all(|it| !it.starts_with('_')), "{commands:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn behind_two_dashes_bash_offers_commands_and_files_and_no_options() {
    let world = World::new();
    let offers = offered(&world, &["lock", "A", "--", "--"]);
    assert_eq!(offers, Vec::<String>::new());
    let offers = offered(&world, &["lock", "A", "--", "bas"]);
    assert!(offers.contains(&"bash".to_owned()), "{offers:?}");
    let offers = offered(&world, &["lock", "A", "--", "cat", "Cargo.to"]);
    assert_eq!(offers, ["Cargo.toml"]);
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_server_bash_offers_the_rest() {
    let world = World::new();
    let away = ["semaphore", "--url", "http://127.0.0.1:9", ""];
    let offers = offered(&world, &away);
    assert!(
        !offers.contains(&"A".to_owned()) && offers.contains(&"--output".to_owned()),
        "{offers:?}"
    );
}

/// A completion is inserted as it is.
#[test]
#[cfg(target_os = "linux")]
fn a_name_that_a_shell_would_obey_is_not_offered() {
    let names = ["good", "$(reboot)", "a b", "a;b", "`x`", "-x", "a'b", "a\\nb"];
    let semaphore = |name: &str| {
        format!(
            r#"{{"name":"{name}","max":1,"held":0,"pending":0,"remainder":1,"longest_pending":"0s"}}"#
        )
    };
    let body = format!("[{}]", names.map(semaphore).join(","));
    let world = World::serve(|| {
        let routes = axum::Router::new().route("/version", axum::routing::get(async || "0.6.0"));
        routes.route("/semaphores", axum::routing::get(async move || body))
    });
    let offers = offered(&world, &["semaphore", ""]);
    assert!(offers.iter().all(|it| it == "good" || it.starts_with('-')), "{offers:?}");
    assert!(offers.contains(&"good".to_owned()));
}

#[test]
fn there_is_a_script_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, text, _) = run(&mut throttlectl("http://localhost", &["completions", shell]));
        assert_eq!(code, 0);
        assert!(text.contains("THROTTLECTL_COMPLETE"), "{shell}");
    }
}

#[test]
fn help_does_not_tell_what_the_environment_has() {
    for arguments in [&["--help"][..], &["lock", "--help"], &["man"]] {
        let mut command = throttlectl("http://ann:secret@localhost", arguments);
        let (code, text, _) = run(command.env("THROTTLE_TOKEN", "secret"));
        assert_eq!(code, 0);
        assert!(text.contains("THROTTLE_URL") && !text.contains("secret"), "{text}");
    }
}

//! The manual page, `--help` and the scripts for completions.

use std::path::Path;

use crate::support::{run, throttlectl};

#[test]
fn the_manual_documents_every_command_and_every_exit_status() {
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
    assert!(!page.contains("die-with-parent"), "hidden commands are not documented");
    let pages = page.lines().filter(|line| line.contains("(1)") || line.contains("\\-lock("));
    assert_eq!(pages.collect::<Vec<_>>(), Vec::<&str>::new(), "there are no other pages");
    let urls = page.lines().filter(|line| line.contains("\\fB\\-\\-url\\fR \\fI"));
    assert_eq!(urls.count(), 1, "common options are documented once");
}

#[test]
fn there_is_a_script_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, text, _) = run(&mut throttlectl("http://localhost", &["completions", shell]));
        assert_eq!(code, 0);
        assert!(text.contains("THROTTLECTL_COMPLETE"), "{shell}");
        let directory = Path::new(env!("CARGO_BIN_EXE_throttlectl")).parent().unwrap();
        assert!(!text.contains(directory.to_str().unwrap()), "{shell}: it can be packed");
    }
}

#[test]
fn help_does_not_show_values_of_the_environment() {
    for arguments in [&["--help"][..], &["lock", "--help"], &["man"]] {
        let mut command = throttlectl("http://ann:secret@localhost", arguments);
        let (code, text, _) = run(command.env("THROTTLE_TOKEN", "secret"));
        assert_eq!(code, 0);
        assert!(text.contains("THROTTLE_URL") && !text.contains("secret"), "{text}");
    }
}

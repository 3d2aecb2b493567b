//! Rules about Rust files: headers, leftovers, length, and the attributes that forbid.

use super::Finding;
use crate::workspace::{File, Workspace};

const MAX_LINES: usize = 600;

/// What must not be left in a file. Spelled so that this file does not find itself.
const LEFTOVERS: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

/// The world enters through the runtime's clock and entropy only; `clippy` watches over it.
const BANNED_METHODS: &[&str] = &[
    "rand::random",
    "rand::rng",
    "std::env::set_var",
    "std::thread::sleep",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "tokio::time::Instant::now",
];

pub(super) fn check(files: &[File], workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_library = |path: &str| workspace.targets("lib").any(|(_, target)| target.source == path);
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        findings.extend(header(file));
        findings.extend(leftovers(file));
        findings.extend(length(file));
        if is_library(&file.path) {
            findings.extend(attribute(file, "#![forbid(unsafe_code)]"));
        }
        if file.path == "crates/throttle-core/src/lib.rs" {
            findings.extend(attribute(file, "#![no_std]"));
        }
    }
    for file in files.iter().filter(|file| file.path == "clippy.toml") {
        findings.extend(bans(file));
    }
    findings
}

/// Every module says in its first line what it is for.
fn header(file: &File) -> Option<Finding> {
    (!file.text.starts_with("//! ")).then(|| file.finding(1, "no `//!` header"))
}

fn leftovers(file: &File) -> Vec<Finding> {
    let found = file.lines().flat_map(|(number, line)| {
        LEFTOVERS
            .iter()
            .filter(|leftover| line.contains(**leftover))
            .map(move |leftover| file.finding(number, format!("left unfinished: {leftover}")))
    });
    found.collect()
}

fn length(file: &File) -> Option<Finding> {
    let lines = file.lines().count();
    (lines > MAX_LINES).then(|| {
        file.finding(MAX_LINES + 1, format!("{lines} lines, more than {MAX_LINES}: one thing each"))
    })
}

fn attribute(file: &File, attribute: &str) -> Option<Finding> {
    let has_it = file.lines().any(|(_, line)| line == attribute);
    (!has_it).then(|| file.finding(1, format!("no `{attribute}`")))
}

fn bans(file: &File) -> Vec<Finding> {
    let missing = BANNED_METHODS.iter().filter(|method| {
        let entry = format!("path = \"{method}\"");
        !file.lines().any(|(_, line)| !line.starts_with('#') && line.contains(&entry))
    });
    missing.map(|method| file.finding(1, format!("`{method}` is not disallowed"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { path: "it.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_module_without_header_is_found() {
        assert_eq!(header(&file("//! What it is for.\n")), None);
        assert!(header(&file("use std::fmt;\n//! Too late.\n")).is_some());
        assert!(header(&file("")).is_some());
    }

    #[test]
    fn unfinished_work_is_found_with_its_line() {
        let unfinished = format!("fn f() {{\n    {}()\n}}\n", LEFTOVERS[2]);
        let lines = leftovers(&file(&unfinished)).into_iter().map(|finding| finding.line);
        assert!(lines.eq([2]));
        assert!(leftovers(&file("//! A list of things that are not to do.\n")).is_empty());
    }

    #[test]
    fn a_file_may_have_600_lines_and_no_more() {
        assert_eq!(length(&file(&"\n".repeat(600))), None);
        assert!(length(&file(&"\n".repeat(601))).is_some());
    }

    #[test]
    fn an_attribute_counts_only_where_it_has_effect() {
        assert_eq!(attribute(&file("//! It.\n\n#![no_std]\n"), "#![no_std]"), None);
        assert!(attribute(&file("//! It.\n// #![no_std]\n"), "#![no_std]").is_some());
    }

    #[test]
    fn a_ban_that_was_lifted_is_found() {
        let entry = |method| format!("    {{ path = \"{method}\" }},\n");
        let all = BANNED_METHODS.iter().map(entry).collect::<String>();
        assert!(bans(&file(&all)).is_empty());
        let lifted = all.replace("SystemTime", "SystemTimes");
        let messages = bans(&file(&lifted)).into_iter().map(|finding| finding.message);
        assert!(messages.eq(["`std::time::SystemTime::now` is not disallowed"]));
    }
}

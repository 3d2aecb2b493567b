//! Rules about Rust files: a header, a greatest length, no unsafe code in libraries.

use super::Finding;
use crate::workspace::{File, Workspace};

const MAX_LINES: usize = 600;

pub(super) fn check(files: &[File], workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_library = |path: &str| workspace.targets("lib").any(|(_, target)| target.source == path);
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        findings.extend(header(file));
        findings.extend(length(file));
        if is_library(&file.path) {
            findings.extend(attribute(file, "#![forbid(unsafe_code)]"));
        }
    }
    findings
}

/// The first line of every module says what the module is for.
fn header(file: &File) -> Option<Finding> {
    (!file.text.starts_with("//! ")).then(|| file.finding(1, "no `//!` header"))
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
    fn a_file_may_have_600_lines_and_no_more() {
        assert_eq!(length(&file(&"\n".repeat(600))), None);
        assert!(length(&file(&"\n".repeat(601))).is_some());
    }

    #[test]
    fn an_attribute_counts_only_where_it_has_effect() {
        assert_eq!(
            attribute(&file("//! It.\n\n#![forbid(unsafe_code)]\n"), "#![forbid(unsafe_code)]"),
            None
        );
        assert!(
            attribute(&file("//! It.\n// #![forbid(unsafe_code)]\n"), "#![forbid(unsafe_code)]")
                .is_some()
        );
    }
}

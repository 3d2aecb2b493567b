//! Rules about every text file: no white space at line ends, no paths of one machine, and a changelog that is
//! open for the next change.

use super::Finding;
use crate::workspace::File;

/// The first directory of a path that exists on one machine only. `/` stands before and after it.
const PRIVATE_DIRECTORIES: &[&str] = &["home", "root", "tmp/target", "work"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(white_space(file));
        findings.extend(private_paths(file));
        if file.path == "CHANGELOG.md" {
            findings.extend(changelog(file));
        }
    }
    findings
}

fn white_space(file: &File) -> Vec<Finding> {
    let mut findings: Vec<_> = file
        .lines()
        .filter(|(_, line)| line.ends_with(char::is_whitespace))
        .map(|(number, _)| file.finding(number, "white space at the end of the line"))
        .collect();
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(file.finding(file.lines().count(), "the last line does not end"));
    }
    findings
}

fn private_paths(file: &File) -> Vec<Finding> {
    let found = file.lines().flat_map(|(number, line)| {
        PRIVATE_DIRECTORIES
            .iter()
            .filter(|directory| names_directory(line, &format!("/{directory}/")))
            .map(move |directory| {
                file.finding(number, format!("a path of somebody's machine: /{directory}/"))
            })
    });
    found.collect()
}

/// Whether an absolute path in `line` starts with `directory`. Within a longer path or a URL, the same text
/// names something else.
fn names_directory(line: &str, directory: &str) -> bool {
    let inside = |it: char| it.is_alphanumeric() || "._-~/}".contains(it);
    line.match_indices(directory).any(|(at, _)| !line[..at].ends_with(inside))
}

/// The next entry always has a section to go into.
fn changelog(file: &File) -> Option<Finding> {
    (file.text.lines().next() != Some("# Unreleased"))
        .then(|| file.finding(1, "the changelog starts with `# Unreleased`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { path: "it.md".to_owned(), text: text.to_owned() }
    }

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn white_space_at_the_end_is_found() {
        assert!(white_space(&file("one\n\n  two\n")).is_empty());
        assert_eq!(lines(&white_space(&file("one \n\ntwo\t\n\r\n"))), [1, 3, 4]);
        assert_eq!(lines(&white_space(&file("one\ntwo"))), [2]);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        for directory in PRIVATE_DIRECTORIES {
            let text = format!("fine\nrun `/{directory}/it/throttle`\n");
            assert_eq!(lines(&private_paths(&file(&text))), [2]);
        }
        assert!(private_paths(&file("see src/home/it.rs and https://a.b/home/it")).is_empty());
    }

    #[test]
    fn the_changelog_is_open_for_the_next_change() {
        assert_eq!(changelog(&file("# Unreleased\n")), None);
        assert!(changelog(&file("# 0.6.0\n")).is_some());
    }
}

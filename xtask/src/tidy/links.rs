//! Links between the documents: the file exists in the repository, and so does the heading.
//!
//! Addresses elsewhere are not visited. What stands in code is no link.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::workspace::File;

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = files.iter().flat_map(|file| ancestors(&file.path)).collect();
    let documents = || files.iter().filter(|file| file.path.ends_with(".md"));
    let anchors: BTreeMap<&str, _> =
        documents().map(|file| (file.path.as_str(), anchors(file))).collect();
    let mut findings = Vec::new();
    for file in documents() {
        for (number, link) in links(file) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = resolve(&file.path, path);
            if !paths.contains(target.as_str()) {
                findings.push(file.finding(number, format!("no such file: {path}")));
            } else if !anchor.is_empty()
                && anchors.get(target.as_str()).is_some_and(|known| !known.contains(anchor))
            {
                findings.push(file.finding(number, format!("no such heading: {link}")));
            }
        }
    }
    findings
}

/// A file's path and those of the directories it lies in.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let directories = path.match_indices('/').map(|(at, _)| &path[..at]);
    directories.chain(["", path])
}

/// The path that `link` means in the document at `from`. An empty link is the document itself.
fn resolve(from: &str, link: &str) -> String {
    if link.is_empty() {
        return from.to_owned();
    }
    let mut path: Vec<&str> = from.split('/').collect();
    path.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            // Out of the repository: leave the dots, they match no file.
            ".." if path.last().is_some_and(|last| *last != "..") => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path.join("/")
}

/// The lines of a document outside code blocks.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    file.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    })
}

/// The targets within the repository, of `[text](target)` and of `[name]: target`.
fn links(file: &File) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(file) {
        // Every second piece stands between backticks.
        let line = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let definition = line.split_once("]: ").filter(|_| line.starts_with('['));
        let targets = inline.chain(definition.map(|(_, target)| target));
        let local = targets.filter(|it| !it.contains("://") && !it.starts_with("mailto:"));
        links.extend(local.map(|target| (number, target.to_owned())));
    }
    links
}

/// What the headings of a document are called in links to them.
fn anchors(file: &File) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(file) {
        let Some((_, heading)) =
            line.split_once("# ").filter(|it| it.0.bytes().all(|it| it == b'#'))
        else {
            continue;
        };
        let name: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|it| it.is_alphanumeric() || " -_".contains(*it))
            .map(|it| if it == ' ' { '-' } else { it })
            .collect();
        // The second heading of the same name gets a number.
        let names = (0..).map(|count| match count {
            0 => name.clone(),
            count => format!("{name}-{count}"),
        });
        anchors.extend(names.skip_while(|name| anchors.contains(name)).take(1).collect::<Vec<_>>());
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings in `docs/it.md`, which says `text`; around it a few other files.
    fn messages(text: &str) -> Vec<String> {
        let files = [
            ("README.md", "# Throttle\n## `PUT /peers/{peer}` & more\n## Same\n## Same\n"),
            ("configs/throttle.toml", ""),
            ("docs/it.md", text),
        ];
        let files = files.map(|(path, text)| File { path: path.to_owned(), text: text.to_owned() });
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_to_what_exists_are_no_findings() {
        let text = "\
            # Own heading\n\
            [a](../README.md) ![b](it.md \"title\") [c](../configs) [`d`](../configs/throttle.toml)\n\
            [e](#own-heading) [f](../README.md#put-peerspeer--more) [g](../README.md#same-1)\n\
            [h](https://example.com/it) [i](mailto:it@example.com) [up](..)\n\
            \n\
            [j]: ../README.md#throttle\n";
        assert_eq!(messages(text), [""; 0]);
    }

    #[test]
    fn a_link_to_a_missing_file_is_found() {
        assert_eq!(messages("\n[a](README.md)\n"), ["docs/it.md:2: no such file: README.md"]);
        assert_eq!(messages("[a]: ../../it.md\n"), ["docs/it.md:1: no such file: ../../it.md"]);
    }

    #[test]
    fn a_link_to_a_missing_heading_is_found() {
        assert_eq!(messages("[a](#here)\n"), ["docs/it.md:1: no such heading: #here"]);
        assert_eq!(
            messages("[a](../README.md#same-2)\n"),
            ["docs/it.md:1: no such heading: ../README.md#same-2"]
        );
    }

    #[test]
    fn what_stands_in_code_is_neither_link_nor_heading() {
        assert_eq!(messages("```text\n[a](b)\n```\n`[a](b)` and `c`\n"), [""; 0]);
        assert_eq!(messages("```\n# A\n```\n[a](#a)\n").len(), 1);
    }
}

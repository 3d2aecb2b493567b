//! The layers of `ARCHITECTURE.md` as data, compared with the manifests: which package may import which.
//!
//! Only normal dependencies count. Tests and examples may import any package.

use super::Finding;
use crate::workspace::Package;

/// Which of our packages each package may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("throttle-core", &[]),
    ("throttle-wire", &[]),
    ("throttle-runtime", &["throttle-core"]),
    ("throttle-store", &["throttle-core", "throttle-runtime"]),
    ("throttle-http", &["throttle-core", "throttle-runtime", "throttle-wire"]),
    ("throttle-client", &["throttle-wire"]),
    (
        "throttle-server",
        &["throttle-core", "throttle-http", "throttle-runtime", "throttle-store", "throttle-wire"],
    ),
    ("throttle-cli", &["throttle-client", "throttle-wire"]),
    ("throttle-python", &["throttle-client", "throttle-http", "throttle-runtime"]),
    ("throttle-bench", &["throttle-runtime", "throttle-store", "throttle-wire"]),
    (
        "throttle-faults",
        &["throttle-client", "throttle-http", "throttle-runtime", "throttle-store"],
    ),
    ("throttle-transcripts", &[]),
    ("throttle-examples", &[]),
    ("xtask", &[]),
];

/// Libraries that only some packages may import. The core imports none of them, because it is pure. axum and
/// reqwest are confined by `deny.toml`, which cannot tell a library's own use of serde or tokio from ours.
const CONFINED: &[(&str, &[&str])] = &[
    (
        "serde",
        &[
            "throttle-bench",
            "throttle-cli",
            "throttle-client",
            "throttle-http",
            "throttle-server",
            "throttle-store",
            "throttle-wire",
        ],
    ),
    (
        "tokio",
        &[
            "throttle-bench",
            "throttle-cli",
            "throttle-client",
            "throttle-faults",
            "throttle-http",
            "throttle-python",
            "throttle-runtime",
            "throttle-server",
        ],
    ),
];

pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let ours = |name: &str| packages.iter().any(|package| package.name == name);
    let mut findings = Vec::new();
    let mut find = |message| {
        findings.push(Finding { path: "Cargo.toml".to_owned(), line: 1, message });
    };
    for Package { name, dependencies, .. } in packages {
        let Some(allowed) = row(LAYERS, name) else {
            find(format!("{name} is not in the layers of xtask's tidy"));
            continue;
        };
        for dependency in dependencies {
            if ours(dependency) && !allowed.contains(&dependency.as_str()) {
                find(format!("{name} must not import {dependency}: it is not in a lower layer"));
            }
            if row(CONFINED, dependency).is_some_and(|users| !users.contains(&name.as_str())) {
                find(format!(
                    "{name} must not import {dependency}: that library is confined to other packages"
                ));
            }
        }
    }
    for (name, _) in LAYERS.iter().filter(|(name, _)| !ours(name)) {
        find(format!("{name} is in the layers of xtask's tidy but does not exist"));
    }
    findings
}

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(first, _)| *first == name).map(|(_, row)| *row)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings in a workspace with these dependencies, and without one of its packages.
    fn messages(dependencies: &[(&str, &str)], without: &str) -> Vec<String> {
        let names = LAYERS.iter().map(|(name, _)| *name).chain(dependencies.iter().map(|it| it.0));
        let mut packages = Vec::<Package>::new();
        for name in names.filter(|name| *name != without) {
            if packages.iter().all(|package| package.name != name) {
                packages.push(Package {
                    name: name.to_owned(),
                    published: true,
                    dependencies: dependencies
                        .iter()
                        .filter(|(user, _)| *user == name)
                        .map(|(_, used)| (*used).to_owned())
                        .collect(),
                    targets: Vec::new(),
                });
            }
        }
        check(&packages).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn what_the_table_allows_is_no_finding() {
        let allowed = [("throttle-http", "throttle-core"), ("throttle-server", "tokio")];
        assert!(messages(&allowed, "").is_empty());
    }

    #[test]
    fn an_import_from_the_layer_above_is_found() {
        assert_eq!(
            messages(&[("throttle-core", "throttle-runtime")], ""),
            ["throttle-core must not import throttle-runtime: it is not in a lower layer"]
        );
    }

    #[test]
    fn an_import_of_a_library_that_is_confined_to_other_packages_is_found() {
        assert_eq!(
            messages(&[("throttle-runtime", "serde")], ""),
            ["throttle-runtime must not import serde: that library is confined to other packages"]
        );
    }

    #[test]
    fn a_package_that_is_missing_and_one_that_does_not_exist_are_found() {
        assert_eq!(messages(&[("throttle-new", "anyhow")], "").len(), 1);
        assert_eq!(messages(&[], "throttle-wire").len(), 1);
    }
}

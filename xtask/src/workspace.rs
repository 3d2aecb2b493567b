//! The packages of the repository, from `cargo metadata`, and its files, from `git`.
//!
//! The output of `cargo metadata` is parsed here, because the crate `cargo_metadata` would triple the time that xtask
//! takes to build from scratch.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use xshell::{Shell, cmd};

/// The packages of the workspace, and its directories.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target_dir: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Whether it may be published on crates.io.
    pub(crate) published: bool,
    /// Names of its normal dependencies, also of those outside the workspace. Those of tests, examples and
    /// build scripts are not included.
    pub(crate) dependencies: Vec<String>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug)]
pub(crate) struct Target {
    /// `lib`, `bin`, `example`, `test`, `bench` …
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Relative to the repository, with `/`.
    pub(crate) source: String,
}

impl Workspace {
    /// The workspace of the current directory.
    pub(crate) fn load(sh: &Shell) -> anyhow::Result<Self> {
        let metadata = cmd!(sh, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
        Self::parse(&serde_json::from_str(&metadata)?)
            .context("unexpected output of cargo metadata")
    }

    fn parse(metadata: &Value) -> Option<Self> {
        let root = PathBuf::from(metadata["workspace_root"].as_str()?);
        let packages = metadata["packages"].as_array()?;
        Some(Self {
            target_dir: metadata["target_directory"].as_str()?.into(),
            packages: packages.iter().map(|it| Package::parse(it, &root)).collect::<Option<_>>()?,
            root,
        })
    }

    /// The targets of one kind, each with its package.
    pub(crate) fn targets(&self, kind: &str) -> impl Iterator<Item = (&Package, &Target)> {
        self.packages
            .iter()
            .flat_map(|package| package.targets.iter().map(move |target| (package, target)))
            .filter(move |(_, target)| target.kind == kind)
    }
}

impl Package {
    fn parse(package: &Value, root: &Path) -> Option<Self> {
        let name = |it: &Value| it["name"].as_str().map(str::to_owned);
        let dependencies = package["dependencies"].as_array()?.iter();
        Some(Self {
            name: name(package)?,
            published: package["publish"].is_null(),
            dependencies: dependencies
                .filter(|dependency| dependency["kind"].is_null())
                .map(name)
                .collect::<Option<_>>()?,
            targets: package["targets"]
                .as_array()?
                .iter()
                .map(|it| Target::parse(it, root))
                .collect::<Option<_>>()?,
        })
    }
}

impl Target {
    fn parse(target: &Value, root: &Path) -> Option<Self> {
        let source = Path::new(target["src_path"].as_str()?).strip_prefix(root).ok()?;
        Some(Self {
            kind: target["kind"][0].as_str()?.to_owned(),
            name: target["name"].as_str()?.to_owned(),
            source: source.to_str()?.replace('\\', "/"),
        })
    }
}

/// A text file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The text files that are in the repository, or that `git add --all` would add.
pub(crate) fn files(sh: &Shell) -> anyhow::Result<Vec<File>> {
    let list = cmd!(sh, "git ls-files -z --cached --others --exclude-standard").quiet().read()?;
    let mut files = Vec::new();
    for path in list.split_terminator('\0').filter(|path| sh.path_exists(path)) {
        // Files that are not UTF-8 are not text.
        if let Ok(text) = String::from_utf8(sh.read_binary_file(path)?) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_normal_dependencies_of_a_package_are_among_its_dependencies() {
        let package = json!({
            "name": "throttle-it",
            "publish": [],
            "dependencies": [
                { "name": "tokio", "kind": null },
                { "name": "axum", "kind": "dev" },
                { "name": "cc", "kind": "build" },
            ],
            "targets": [{ "kind": ["lib"], "name": "throttle_it", "src_path": "/it/src/lib.rs" }],
        });
        let package = Package::parse(&package, Path::new("/it")).unwrap();
        assert_eq!(package.dependencies, ["tokio"]);
        assert!(!package.published);
        assert_eq!(package.targets[0].source, "src/lib.rs");
    }
}

//! What no compiler checks: layers, module headers, leftovers, spelling, links.
//!
//! A check of our own is a pure function from files or packages to findings, so that its tests can show that
//! it is able to fail. What a tool checks as well is left to that tool: clippy has the rules of `clippy.toml`
//! and of the root `Cargo.toml`, `typos` the spelling and the retired names of `typos.toml`, `lychee` the links
//! between the documents.

mod layers;
mod source;
mod text;

use std::fmt::{self, Display, Formatter};

use anyhow::{Context as _, bail};
use xshell::{Shell, cmd};

use crate::{
    tool,
    workspace::{self, File, Workspace},
};

/// Something to put right, and where.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Finding {
    path: String,
    /// Counted from 1.
    line: usize,
    message: String,
}

impl File {
    /// The lines, numbered as editors do.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.split_terminator('\n'))
    }

    fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, message: message.into() }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Prints every finding, and fails if there is one.
pub(crate) fn run(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let files = workspace::files(sh)?;
    let mut findings = layers::check(&workspace.packages);
    findings.extend(source::check(&files, workspace));
    findings.extend(text::check(&files));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    let spelling = spelling(sh, workspace);
    let links = links(sh, workspace, &files);
    match findings.len() {
        0 => spelling.and(links),
        count => bail!("{count} findings"),
    }
}

/// Misspelt words and retired names.
fn spelling(sh: &Shell, workspace: &Workspace) -> anyhow::Result<()> {
    let typos = tool::find(sh, workspace, "typos")?;
    cmd!(sh, "{typos} --format brief").run().context("to allow a word, add it to typos.toml")
}

/// Links between the documents to files and headings that do not exist. Addresses elsewhere are not visited.
fn links(sh: &Shell, workspace: &Workspace, files: &[File]) -> anyhow::Result<()> {
    let lychee = tool::find(sh, workspace, "lychee")?;
    let documents = files.iter().map(|file| &file.path).filter(|path| path.ends_with(".md"));
    Ok(cmd!(sh, "{lychee} --quiet --offline --include-fragments {documents...}").quiet().run()?)
}

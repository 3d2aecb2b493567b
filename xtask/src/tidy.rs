//! What no compiler checks: layers, headers, links, leftovers.
//!
//! A check is a pure function from files or packages to findings, so its tests can show that it is
//! able to fail. The rules that `clippy` can check are in `clippy.toml` and in the root
//! `Cargo.toml`; here is only the check that they stay there.

mod layers;
mod links;
mod source;
mod text;

use std::fmt::{self, Display, Formatter};

use anyhow::bail;
use xshell::Shell;

use crate::workspace::{self, File, Workspace};

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
    findings.extend(links::check(&files));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} findings"),
    }
}

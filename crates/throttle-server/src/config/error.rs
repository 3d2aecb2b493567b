//! The mistakes in a configuration, with their places in the file.

use std::{
    collections::BTreeSet,
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned, de,
    de::{DeTable, DeValue},
};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}", file.display())]
    Unreadable {
        /// Its name.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file is not a valid configuration.
    #[error("{0}")]
    Invalid(Mistakes),
}

impl ConfigError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Unreadable { error, .. } => error.kind() == io::ErrorKind::NotFound,
            Self::Invalid(_) => false,
        }
    }
}

/// The mistakes in a file, in their order in the file: one line each, at most [fifty](Self::MOST).
#[derive(Debug)]
pub struct Mistakes {
    file: PathBuf,
    first: Vec<Mistake>,
    /// How many more mistakes there are.
    more: usize,
}

/// A mistake at one place of a file.
#[derive(Debug)]
struct Mistake {
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    /// The key with the keys of the tables around it; empty if the mistake belongs to no key.
    key: String,
    /// What is wrong, with the value.
    message: String,
}

impl Mistakes {
    /// How many mistakes are shown. A file with more was not written by hand.
    pub const MOST: usize = 50;

    /// Finds the line, column and key of each fault.
    pub(crate) fn locate(mut faults: Vec<Fault>, text: &str, file: &Path) -> Self {
        faults.sort_by_key(|fault| fault.span.start);
        let more = faults.len().saturating_sub(Self::MOST);
        faults.truncate(Self::MOST);
        let first = faults.into_iter().map(|fault| fault.locate(text)).collect();
        Self { file: file.to_owned(), first, more }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (number, Mistake { line, column, key, message }) in self.first.iter().enumerate() {
            let newline = if number > 0 { "\n" } else { "" };
            let colon = if key.is_empty() { "" } else { ": " };
            write!(f, "{newline}{file}:{line}:{column}: {key}{colon}{message}")?;
        }
        if self.more > 0 {
            write!(f, "\n{file}: and {} more mistakes", self.more)?;
        }
        Ok(())
    }
}

/// A mistake, by its position in the text.
#[derive(Debug)]
pub(crate) struct Fault {
    span: Range<usize>,
    /// Its key, if that is known already.
    key: Option<String>,
    message: String,
}

impl Fault {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        let mut message = message.into().lines().collect::<Vec<_>>().join(", ");
        // The message contains the value, which can be of any length.
        if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.replace_range(end.., "…");
        }
        Self { span, key: None, message }
    }

    pub(crate) fn with_key(self, key: String) -> Self {
        Self { key: Some(key), ..self }
    }

    fn locate(self, text: &str) -> Mistake {
        let Self { span, key, message } = self;
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let key = key.or_else(|| key_token(text, &span).map(|path| path.join("."))).or_else(|| {
            let table = DeTable::parse_recoverable(text).0;
            key_at(table.get_ref(), &span).map(|path| path.join("."))
        });
        Mistake {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: key.unwrap_or_default(),
            message,
        }
    }
}

/// Merges the errors of the parser with the other faults.
///
/// The parser continues after an error. So its first error in a line causes the others, and other faults in that
/// line mean nothing. If the line is the header of a table, it is unknown which table the keys below belong to, so
/// no other fault is reported.
pub(crate) fn merge(syntax: Vec<de::Error>, others: Vec<Fault>, text: &str) -> Vec<Fault> {
    let line_of = |fault: &Fault| {
        let (before, behind) = text.split_at_checked(fault.span.start).unwrap_or((text, ""));
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        start..before.len() + behind.find('\n').unwrap_or(behind.len())
    };
    let mut faults = Vec::new();
    let mut lines = BTreeSet::new();
    let mut is_header_broken = false;
    for error in syntax {
        let fault = Fault::new(error.span().unwrap_or_default(), error.message());
        let line = line_of(&fault);
        if lines.insert(line.start) {
            is_header_broken |= text[line].trim_start().starts_with('[');
            faults.push(fault);
        }
    }
    if is_header_broken {
        return faults;
    }
    let places = faults.iter().map(|fault| fault.span.start).collect::<BTreeSet<_>>();
    faults.extend(others.into_iter().filter(|fault| {
        let has_fault_inside = places.range(fault.span.start..=fault.span.end).next().is_some();
        !has_fault_inside && !lines.contains(&line_of(fault).start)
    }));
    faults
}

/// The path to the key at this place, even if it is a duplicate: a table keeps only the first of equal keys, so the
/// key is given a unique name before the text is parsed.
fn key_token(text: &str, span: &Range<usize>) -> Option<Vec<String>> {
    let token = text.get(span.clone())?;
    if token.is_empty() || token.contains('\n') {
        return None;
    }
    let alone = format!("{token} = 0");
    let alone = DeTable::parse(&alone).ok()?;
    let (name, _) = alone.get_ref().iter().next()?;
    let unique = "_".repeat(text.len() + 1);
    let renamed = [text.get(..span.start)?, &unique, text.get(span.end..)?].concat();
    let mut path = path_to(DeTable::parse_recoverable(&renamed).0.get_ref(), &unique)?;
    path.push(written(name.get_ref()));
    Some(path)
}

/// The tables around the key of this name.
fn path_to(table: &DeTable<'_>, name: &str) -> Option<Vec<String>> {
    table.iter().find_map(|(key, value)| {
        if key.get_ref() == name {
            return Some(Vec::new());
        }
        let DeValue::Table(inner) = value.get_ref() else { return None };
        let mut path = path_to(inner, name)?;
        path.insert(0, written(key.get_ref()));
        Some(path)
    })
}

/// The path to the key at this place, or to the innermost value around it.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    table.iter().find_map(|(key, value)| {
        let mut path = match value.get_ref() {
            _ if is_at(key, span) => Vec::new(),
            DeValue::Table(inner) => {
                key_at(inner, span).or_else(|| is_at(value, span).then(Vec::new))?
            }
            _ if is_at(value, span) => Vec::new(),
            _ => return None,
        };
        path.insert(0, written(key.get_ref()));
        Some(path)
    })
}

fn is_at<T>(node: &Spanned<T>, span: &Range<usize>) -> bool {
    node.span().start <= span.start && span.end <= node.span().end
}

/// A key as it is written in a file.
pub(crate) fn written(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        toml::Value::from(key).to_string()
    }
}

/// In characters.
const LONGEST_MESSAGE: usize = 500;

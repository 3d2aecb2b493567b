//! What is wrong with a configuration, and where.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
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
    /// The file says something that makes no sense.
    #[error("{}:{line}:{column}: {}{message}", file.display(), in_front(key))]
    Invalid {
        /// Its name.
        file: PathBuf,
        /// Where in the file, from 1.
        line: usize,
        /// Where in the line, in characters, from 1.
        column: usize,
        /// The key with the keys of the tables around it, unless it is nowhere in particular.
        key: String,
        /// What is wrong, with the value that is.
        message: String,
    },
}

impl ConfigError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Unreadable { error, .. } => error.kind() == io::ErrorKind::NotFound,
            Self::Invalid { .. } => false,
        }
    }
}

/// Something wrong, by its position in the text.
#[derive(Debug)]
pub(crate) struct Fault {
    span: Range<usize>,
    message: String,
}

impl Fault {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { span, message }
    }

    /// Says where in which file it is.
    pub(crate) fn locate(self, text: &str, file: &Path) -> ConfigError {
        let Self { span, message } = self;
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let path = key_token(text, &span).or_else(|| {
            let table = DeTable::parse_recoverable(text).0;
            key_at(table.get_ref(), &span)
        });
        ConfigError::Invalid {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: path.map_or_else(String::new, |path| path.join(".")),
            message,
        }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Self::new(error.span().unwrap_or_default(), message)
    }
}

/// The path to the key that stands at this place, even if it is there twice: tables keep the first
/// of equal keys only, so it gets another name before the text is looked at.
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

/// The path to what stands at this place: to a key, or to the innermost value around it.
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
fn written(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        toml::Value::from(key).to_string()
    }
}

fn in_front(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

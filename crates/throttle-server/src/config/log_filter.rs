//! Which messages are logged: a level, and other levels for single parts of the program.
//!
//! The form is that of `RUST_LOG`, which the server before this one understood in full: `info`, or
//! `info,tower=warn,throttle_server::reload=debug`. Filters by span, field or regular expression are not supported.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Which messages are logged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    /// The level of parts that are not among the targets. `None` logs nothing of them.
    level: Option<Level>,
    /// Levels of the parts whose names have this prefix; the longest matching prefix counts.
    targets: Vec<(String, Level)>,
}

/// How severe a message must be to be logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Nothing is logged.
    Off,
    /// Something is broken.
    Error,
    /// An operator should know.
    Warn,
    /// The server starts, stops, or changes.
    Info,
    /// Each request.
    Debug,
    /// Everything.
    Trace,
}

impl From<Level> for Filter {
    fn from(level: Level) -> Self {
        Self { level: Some(level), targets: Vec::new() }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut filter = Self { level: None, targets: Vec::new() };
        let is_blank = text.split(',').all(|part| part.trim().is_empty());
        // An empty part, such as one after a trailing comma, is ignored if there are others.
        for part in text.split(',').map(str::trim).filter(|part| is_blank || !part.is_empty()) {
            match part.split_once('=') {
                Some((target, level)) => {
                    let (target, level) = (target.trim(), level.trim());
                    let level = level.parse().map_err(|error| format!("{error}, in {part:?}"))?;
                    filter.targets.push((checked(target, part)?, level));
                }
                // A part of this program without a level logs everything. Any other word is more likely a
                // misspelt level.
                None if part.starts_with("throttle") => {
                    filter.targets.push((checked(part, part)?, Level::Trace));
                }
                None => filter.level = Some(part.parse()?),
            }
        }
        Ok(filter)
    }
}

/// The name of a part of the program, if it can be one.
fn checked(target: &str, part: &str) -> Result<String, String> {
    let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
    if target.is_empty() || !target.chars().all(is_path) {
        return Err(format!(
            "{part:?} is no filter: expected a level, or a target with a level such as tower=warn"
        ));
    }
    Ok(target.to_owned())
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level.map(|level| level.to_string());
        let targets = self.targets.iter().map(|(target, level)| format!("{target}={level}"));
        f.write_str(&level.into_iter().chain(targets).collect::<Vec<_>>().join(","))
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.to_string()
    }
}

impl TryFrom<String> for Filter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<&Filter> for Targets {
    fn from(filter: &Filter) -> Self {
        let level = filter.level.map_or(LevelFilter::OFF, LevelFilter::from);
        let targets = filter.targets.iter();
        Self::new()
            .with_default(level)
            .with_targets(targets.map(|(target, level)| (target, LevelFilter::from(*level))))
    }
}

impl Level {
    const NAMES: [(&str, Self); 6] = [
        ("ERROR", Self::Error),
        ("WARN", Self::Warn),
        ("INFO", Self::Info),
        ("DEBUG", Self::Debug),
        ("TRACE", Self::Trace),
        ("OFF", Self::Off),
    ];
}

impl FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|&(_, level)| level).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name).join(", ");
            format!("unknown level {name:?}, expected one of {names}")
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::NAMES.iter().find(|(_, level)| level == self);
        f.write_str(found.expect("every level has a name").0)
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let outcome = text.parse::<Filter>();
        assert_eq!(outcome.map_or_else(|error| error, |filter| filter.to_string()), expected);
    }

    #[test]
    fn a_filter_is_a_level_or_levels_of_targets() {
        check("info", "INFO");
        check("Warn,tower=off", "WARN,tower=OFF");
        check(" tower = debug , error", "ERROR,tower=DEBUG");
        check("throttle_server::reload=trace", "throttle_server::reload=TRACE");
        check("warn,throttle", "WARN,throttle=TRACE");
        check("info,", "INFO");
        check(",tower=off,,warn", "WARN,tower=OFF");
    }

    #[test]
    fn what_is_no_filter_is_named() {
        const LEVELS: &str = "expected one of ERROR, WARN, INFO, DEBUG, TRACE, OFF";
        check(" , ", &format!("unknown level \"\", {LEVELS}"));
        check("", &format!("unknown level \"\", {LEVELS}"));
        check("info,LOUD", &format!("unknown level \"LOUD\", {LEVELS}"));
        check("info,tower=LOUD", &format!("unknown level \"LOUD\", {LEVELS}, in \"tower=LOUD\""));
        check("info,tower", &format!("unknown level \"tower\", {LEVELS}"));
        let form = "expected a level, or a target with a level such as tower=warn";
        check("=info", &format!("\"=info\" is no filter: {form}"));
        check(
            "throttle[request]=info",
            &format!("\"throttle[request]=info\" is no filter: {form}"),
        );
    }

    #[test]
    fn the_longest_target_counts() {
        let filter = "warn,tower=off,throttle=info,throttle_http=debug".parse::<Filter>().unwrap();
        let targets = Targets::from(&filter);
        let enabled = |target, level| targets.would_enable(target, &level);
        assert!(enabled("hyper", tracing::Level::WARN) && !enabled("hyper", tracing::Level::INFO));
        assert!(!enabled("tower", tracing::Level::ERROR));
        assert!(enabled("throttle_server::reload", tracing::Level::INFO));
        assert!(enabled("throttle_http::observed", tracing::Level::DEBUG));
        let targets = Targets::from(&"tower=warn".parse::<Filter>().unwrap());
        assert!(!targets.would_enable("throttle", &tracing::Level::ERROR));
    }
}

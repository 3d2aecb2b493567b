//! Durations as people write them: `"5m"`, `"1h 30m"`, `"100ms"`.

use std::{fmt, time::Duration};

use serde::{
    Deserializer, Serializer,
    de::{Error, Unexpected, Visitor},
};

/// What a duration looks like, for a sentence that refuses something else.
pub const EXPECTED_DURATION: &str = "a duration such as \"5m\", \"1h 30m\" or \"100ms\"";

/// Why a text is not read as a duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidDuration {
    /// It is not a sequence of numbers with units.
    Malformed,
    /// It is longer than [`Duration::MAX`].
    TooLong,
}

/// Reads a duration: numbers with units, such as `1h 30m`.
///
/// # Errors
///
/// [`InvalidDuration`] if the text is something else, or a duration that no [`Duration`] can hold.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # use throttle_wire::{InvalidDuration, parse_duration};
/// assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
/// assert_eq!(parse_duration("90"), Err(InvalidDuration::Malformed));
/// assert_eq!(parse_duration("999999999999999999y"), Err(InvalidDuration::TooLong));
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::NumberOverflow => InvalidDuration::TooLong,
        _ => InvalidDuration::Malformed,
    })
}

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "expected {EXPECTED_DURATION}"),
            Self::TooLong => f.write_str("the duration is too long"),
        }
    }
}

impl std::error::Error for InvalidDuration {}

/// For `#[serde(with = "duration")]`.
pub(crate) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// For `#[serde(with = "duration")]`. A duration beyond all others is read as the longest one.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(EXPECTED_DURATION)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            match parse_duration(text) {
                Ok(duration) => Ok(duration),
                Err(InvalidDuration::TooLong) => Ok(Duration::MAX),
                Err(InvalidDuration::Malformed) => {
                    Err(E::invalid_value(Unexpected::Str(text), &self))
                }
            }
        }
    }

    deserializer.deserialize_str(Text)
}

/// For `#[serde(with = "duration::option")]`.
pub(crate) mod option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Text(#[serde(with = "super")] Duration);

        let duration = Option::<Text>::deserialize(deserializer)?;
        Ok(duration.map(|Text(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_beyond_all_others_is_read_as_the_longest_one() {
        let mut json = serde_json::Deserializer::from_str("\"999999999999999999y\"");
        assert_eq!(deserialize(&mut json).unwrap(), Duration::MAX);
    }

    #[test]
    fn an_error_says_what_a_duration_is() {
        let mut json = serde_json::Deserializer::from_str("\"soon\"");
        let error = deserialize(&mut json).unwrap_err().to_string();
        assert!(error.contains(EXPECTED_DURATION), "{error}");
    }
}

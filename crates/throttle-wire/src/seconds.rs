//! Durations as numbers of seconds.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration as a number of seconds, such as `252.3`, for programs.
///
/// Answers have it beside the same duration as text. It is zero if the server is too old to send it.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Seconds(pub Duration);

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Milliseconds fit exactly into a float where nanoseconds may not, and the quotient of two
        // exact floats is written with no more digits than the decimal number has.
        let (number, units) = match self.0.subsec_nanos() % 1_000_000 {
            0 => (self.0.as_millis(), 1e3),
            _ => (self.0.as_nanos(), 1e9),
        };
        serializer.serialize_f64(number as f64 / units)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_with_as_few_digits_as_possible_and_read_back() {
        for (nanos, json) in [
            (0, "0.0"),
            (1, "1e-9"),
            (252_300_000_000, "252.3"),
            (1_234_567_890, "1.23456789"),
            (86_399_999_000_000, "86399.999"),
            (300_000_000_000, "300.0"),
        ] {
            let seconds = Seconds(Duration::from_nanos(nanos));
            assert_eq!(serde_json::to_string(&seconds).unwrap(), json);
            assert_eq!(serde_json::from_str::<Seconds>(json).unwrap(), seconds);
        }
        assert_eq!(serde_json::from_str::<Seconds>("5").unwrap().0, Duration::from_secs(5));
        serde_json::to_string(&Seconds(Duration::MAX)).unwrap();
        for unusable in ["-1", "1e300", "\"5s\"", "null"] {
            serde_json::from_str::<Seconds>(unusable).unwrap_err();
        }
    }
}

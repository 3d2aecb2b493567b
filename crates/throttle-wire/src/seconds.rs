//! Durations as numbers.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration as a number of seconds, such as `252.3`, for programs.
///
/// In answers it stands beside the same duration as text, for people. Read from a server that does
/// not send it, it is zero.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Seconds(pub Duration);

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Whole milliseconds are written with no more digits than they have: the quotient of two
        // integers that a float can hold is the float that is nearest to it.
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
    fn seconds_are_written_with_the_digits_that_they_have_and_read_back() {
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

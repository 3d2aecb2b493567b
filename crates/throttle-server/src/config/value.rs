//! Types of the values of options. Each accepts a range, and its error names that range.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};
use throttle_runtime as runtime;
use throttle_wire::{EXPECTED_DURATION, parse_duration};

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Number<const LEAST: u32 = 0, const MOST: u32 = { u32::MAX }>(u32);

/// A whole number of at least `LEAST`; or `"auto"`, for a number that is derived from others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Auto<const LEAST: u32 = 0>(Option<Number<LEAST>>);

/// A duration in whole milliseconds from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Period<const LEAST: u64, const MOST: u64>(Duration);

/// A duration of up to a hundred years. Longer ones would overflow clocks.
pub(crate) type Span = Period<0, { 100 * YEAR }>;

/// How long to wait for a client before giving up.
pub(crate) type Timeout = Period<1, DAY>;

const DAY: u64 = 24 * 60 * 60 * 1_000;
/// 365.25 days, as in the durations of humantime.
const YEAR: u64 = 365 * DAY + DAY / 4;

/// The maximum of a semaphore.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Max(pub(crate) runtime::Count);

/// The level of a semaphore.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Level(pub(crate) runtime::Level);

impl<const LEAST: u32, const MOST: u32> fmt::Display for Number<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const LEAST: u32, const MOST: u32> Number<LEAST, MOST> {
    /// # Panics
    ///
    /// If the number is out of bounds. This is for constants.
    pub(crate) const fn new(number: u32) -> Self {
        assert!(LEAST <= number && number <= MOST, "out of bounds");
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<const LEAST: u32> Auto<LEAST> {
    /// `"auto"`.
    pub(crate) const AUTO: Self = Self(None);

    /// The number, if one is given.
    pub fn get(self) -> Option<u32> {
        self.0.map(Number::get)
    }
}

impl<const LEAST: u64, const MOST: u64> Period<LEAST, MOST> {
    /// For constants; the bounds are not checked.
    pub(crate) const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Number<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_i64(Whole::new(LEAST, MOST))?;
        Ok(Self(u32::try_from(number).expect("the visitor checks the bounds")))
    }
}

impl<'de, const LEAST: u32> Deserialize<'de> for Auto<LEAST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(NumberOrAuto(Whole::new(LEAST, u32::MAX)))?;
        let number =
            number.map(|number| u32::try_from(number).expect("the visitor checks the bounds"));
        Ok(Self(number.map(Number)))
    }
}

impl<const LEAST: u32> Serialize for Auto<LEAST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => number.serialize(serializer),
            None => serializer.serialize_str(AUTO),
        }
    }
}

impl<'de> Deserialize<'de> for Max {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(Self::expected()).map(Self::from_number)
    }
}

impl Max {
    /// The numbers that can be a maximum.
    pub(crate) fn expected() -> Whole {
        let most = runtime::Count::MAX.get();
        Whole::new(1, i64::try_from(most).expect("53 bits fit into 64"))
    }

    /// The maximum that is one of the [expected](Self::expected) numbers.
    pub(crate) fn from_number(number: i64) -> Self {
        Self(number.try_into().expect("the visitor checks the bounds"))
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let level = deserializer.deserialize_i64(Whole::new(i32::MIN, i32::MAX))?;
        let level = i32::try_from(level).expect("the visitor checks the bounds");
        Ok(Self(runtime::Level(level)))
    }
}

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Period<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = Between(Duration::from_millis(LEAST), Duration::from_millis(MOST));
        deserializer.deserialize_str(expected).map(Self)
    }
}

impl<const LEAST: u64, const MOST: u64> Serialize for Period<LEAST, MOST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// Accepts whole numbers from the first to the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole(i64, i64);

impl Whole {
    fn new(least: impl Into<i64>, most: impl Into<i64>) -> Self {
        Self(least.into(), most.into())
    }
}

impl Visitor<'_> for Whole {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.0, self.1)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        if (self.0..=self.1).contains(&number) {
            Ok(number)
        } else {
            Err(E::invalid_value(Unexpected::Signed(number), &self))
        }
    }
}

/// Accepts what [`Whole`] does, and `"auto"`.
struct NumberOrAuto(Whole);

impl Visitor<'_> for NumberOrAuto {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)?;
        write!(f, ", or {AUTO:?}")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let Whole(least, most) = self.0;
        if (least..=most).contains(&number) {
            Ok(Some(number))
        } else {
            Err(E::invalid_value(Unexpected::Signed(number), &self))
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == AUTO { Ok(None) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
    }
}

const AUTO: &str = "auto";

/// Accepts durations from the first to the second.
struct Between(Duration, Duration);

impl Visitor<'_> for Between {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, most] = [self.0, self.1].map(humantime::format_duration);
        write!(f, "{EXPECTED_DURATION}, from {least} to {most}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        let duration = parse_duration(text).ok();
        let duration = duration.filter(|duration| (self.0..=self.1).contains(duration));
        duration.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

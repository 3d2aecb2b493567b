//! JSON values, read with errors in our own words.
//!
//! A value stays the text that was sent until it is read as a string, an integer or an object. So an
//! error can quote the text, an integer of any length is recognised, and a duplicate member is found.
//! Nesting costs nothing: a value that is not read is checked without recursion and skipped.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use throttle_wire::Code;

use crate::refusal::Refusal;

/// A value of well-formed JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a>(&'a str);

/// The members of an object, in the order in which they were sent. Names may be duplicate.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// A number without fraction and exponent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Integer {
    Fits(i64),
    /// 2^63 or more.
    TooLarge,
}

impl<'a> Value<'a> {
    /// Reads a whole body, and reports where it stops being JSON.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        serde_json::from_slice::<&RawValue>(body).map(Self::from).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = if error.is_eof() { "it ends too early" } else { "there is a mistake" };
            Refusal::new(
                Code::MalformedBody,
                format!("The body is not JSON: {what} in line {line}, column {column}."),
            )
        })
    }

    /// The text that was sent.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        let text = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if text.contains('\\') {
            return serde_json::from_str(self.0).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(text))
    }

    /// `None` if the value is not an integer, or below -2^63.
    pub(crate) fn integer(self) -> Option<Integer> {
        let digits = self.0.strip_prefix('-').unwrap_or(self.0);
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        match self.0.parse() {
            Ok(integer) => Some(Integer::Fits(integer)),
            Err(_) => (digits.len() == self.0.len()).then_some(Integer::TooLarge),
        }
    }

    pub(crate) fn members(self) -> Option<Members<'a>> {
        serde_json::from_str(self.0).ok()
    }
}

impl<'a> From<&'a RawValue> for Value<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(raw.get())
    }
}

impl<'a> Members<'a> {
    /// Reads a whole body; `None` if it is not an object.
    ///
    /// This is one pass over the body. [`Value::parse`] reports what is wrong with it, but takes a
    /// second pass for the members.
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The member of this name, if there is one. A duplicate is refused.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Value<'a>>, Refusal> {
        let mut found = self.0.iter().filter(|(member, _)| member == name);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(duplicate(&format!("The body has `{name}`"))),
            (found, None) => Ok(found.map(|&(_, value)| value)),
        }
    }

    /// All members, sorted by name. A duplicate is refused; `field` names the object in that sentence.
    pub(crate) fn unique(mut self, field: &str) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, Refusal> {
        self.0.sort_by(|(one, _), (other, _)| one.cmp(other));
        match self.0.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(duplicate(&format!("`{field}` has {:?}", pair[0].0))),
            None => Ok(self.0),
        }
    }
}

fn duplicate(finding: &str) -> Refusal {
    Refusal::new(Code::InvalidField, format!("{finding} twice."))
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<_, &RawValue>()? {
                    members.push((name, Value::from(value)));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// A string, borrowed if it was sent without escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value<'_> {
        Value::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_mistake_is_reported_with_line_and_column() {
        let detail = |body: &[u8]| format!("{:?}", Value::parse(body).unwrap_err());
        assert!(detail(b"{\n  oops").contains("a mistake in line 2, column 3"));
        assert!(detail(b"{\"a\":").contains("ends too early in line 1, column 5"));
        assert!(detail(b"").contains("ends too early in line 1, column 0"));
        assert!(detail(b"1 2").contains("a mistake in line 1, column 3"));
        assert!(detail(b"\"\xff\"").contains("a mistake in line 1"));
    }

    #[test]
    fn integers_of_any_length_are_recognised() {
        assert_eq!(value(" 42 ").integer(), Some(Integer::Fits(42)));
        assert_eq!(value("-0").integer(), Some(Integer::Fits(0)));
        assert_eq!(value(&i64::MAX.to_string()).integer(), Some(Integer::Fits(i64::MAX)));
        assert_eq!(value("9223372036854775808").integer(), Some(Integer::TooLarge));
        assert_eq!(value(&"9".repeat(5_000)).integer(), Some(Integer::TooLarge));
        assert_eq!(value("-9223372036854775809").integer(), None);
        for other in ["1.0", "1e3", "true", "\"1\"", "[1]", "null"] {
            assert_eq!(value(other).integer(), None, "{other}");
        }
    }

    #[test]
    fn strings_are_read_with_and_without_escapes() {
        assert_eq!(value(r#""5m""#).string().as_deref(), Some("5m"));
        assert_eq!(value(r#" "5\u006d" "#).string().as_deref(), Some("5m"));
        assert_eq!(value(r#""\"""#).string().as_deref(), Some("\""));
        for other in ["5", r#"["5m"]"#, r#""\ud800""#] {
            assert_eq!(value(other).string(), None, "{other}");
        }
    }

    #[test]
    fn a_body_is_an_object_and_nothing_else() {
        assert!(Members::parse(b" { } ").is_some());
        for other in [&b"[]"[..], b"{} {}", b"{", b"{\"a\":}", b"{\"a\":\"\xff\"}", b"null"] {
            assert!(Members::parse(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn deep_nesting_is_read_without_recursion() {
        let bomb = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert!(value(&bomb).members().is_none());
        assert!(Members::parse(bomb.as_bytes()).is_none());
        assert!(Value::parse("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn duplicate_members_are_refused_even_if_spelled_differently() {
        let members = || value(r#"{"A":1,"B":2,"\u0041":3}"#).members().unwrap();
        assert!(members().find("A").is_err());
        assert_eq!(members().find("B").unwrap().unwrap().text(), "2");
        assert!(members().find("C").unwrap().is_none());
        assert!(members().unique("It").is_err());
    }
}

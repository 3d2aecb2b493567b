//! Reads the types of [`throttle_wire`] from bodies and query strings, with errors in our own words.
//!
//! The derived `Deserialize` of each type names its fields, so no name is repeated here. A struct is read
//! as the sequence of its fields in the order of their declaration: of several wrong fields the first
//! declared one is reported, whatever the order in which they were sent.

use std::{borrow::Cow, fmt, slice};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, Expected, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected,
        Visitor,
    },
    forward_to_deserialize_any,
};

use crate::{
    json::{Integer, Members, Value},
    refusal::Refusal,
    worker_request::Parameters,
};

/// Reads a body that is an object.
pub(crate) fn from_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    T::deserialize(Source::Body(body)).map_err(Error::into_refusal)
}

/// Reads a query string.
pub(crate) fn from_query<'a, T: Deserialize<'a>>(
    parameters: &'a Parameters<'_>,
) -> Result<T, Refusal> {
    T::deserialize(Source::Query(parameters)).map_err(Error::into_refusal)
}

/// Reads a single value. `subject` names it in the sentence that refuses it.
pub(crate) fn from_value<'a, T: Deserialize<'a>>(
    value: Value<'a>,
    subject: &'static str,
) -> Result<T, Refusal> {
    let sent = Sent { form: Form::Json(value), subject: Subject::Whole(subject) };
    T::deserialize(sent).map_err(Error::into_refusal)
}

/// The part of a request from which a struct is read.
enum Source<'de> {
    Body(&'de [u8]),
    Query(&'de Parameters<'de>),
}

/// The fields that were sent, by name.
enum Fields<'de> {
    Members(Members<'de>),
    Parameters(&'de Parameters<'de>),
}

impl<'de> Source<'de> {
    /// The fields that were sent for a struct with the fields `names`.
    fn fields(self, names: &'static [&'static str]) -> Result<Fields<'de>, Refusal> {
        let body = match self {
            Self::Query(parameters) => return Ok(Fields::Parameters(parameters)),
            Self::Body(body) => body,
        };
        if let Some(members) = Members::parse(body) {
            return Ok(Fields::Members(members));
        }
        let other = Value::parse(body)?;
        let first = names.first().copied().unwrap_or_default();
        let expected = format!("a JSON object with the field `{first}`");
        Err(Refusal::invalid_field("The body", &expected, other.text()))
    }
}

impl<'de> Fields<'de> {
    /// The field of this name, if it was sent. A duplicate is refused.
    fn find(&self, name: &str) -> Result<Option<Form<'de>>, Refusal> {
        match self {
            Self::Members(members) => Ok(members.find(name)?.map(Form::Json)),
            Self::Parameters(parameters) => Ok(parameters.find(name)?.map(Form::Text)),
        }
    }
}

/// Reads a struct, and nothing else.
impl<'de> Deserializer<'de> for Source<'de> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let fields = self.fields(names)?;
        let sequence = InDeclaredOrder { fields, names: names.iter() };
        visitor.visit_seq(sequence).map_err(|error| match error {
            Error::Missing(index) => Refusal::missing_field(names[index]).into(),
            error => error,
        })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::unsupported())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The fields of a struct in the order of their declaration.
///
/// A field that was not sent is `None`. For it the derived visitor takes the default of the field, or
/// fails with an [`invalid_length`](serde::de::Error::invalid_length), which is the index of the field.
struct InDeclaredOrder<'de> {
    fields: Fields<'de>,
    names: slice::Iter<'static, &'static str>,
}

impl<'de> SeqAccess<'de> for InDeclaredOrder<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(name) = self.names.next() else { return Ok(None) };
        let Some(form) = self.fields.find(name)? else { return Ok(None) };
        seed.deserialize(Sent { form, subject: Subject::Field(name) }).map(Some)
    }
}

/// A value that was sent, and its name in the sentence that refuses it.
#[derive(Clone, Copy)]
struct Sent<'de, 's> {
    form: Form<'de>,
    subject: Subject<'s>,
}

#[derive(Clone, Copy)]
enum Form<'de> {
    Json(Value<'de>),
    /// The text of a parameter.
    Text(&'de str),
}

#[derive(Clone, Copy)]
enum Subject<'s> {
    Field(&'static str),
    /// A member of a field that is an object.
    Member {
        field: ObjectField<'s>,
        name: &'s str,
    },
    Whole(&'static str),
}

/// A field that is an object.
#[derive(Clone, Copy)]
struct ObjectField<'s> {
    name: &'static str,
    /// What its visitor expects.
    expected: &'s str,
}

impl Sent<'_, '_> {
    /// The text that was sent, to be quoted.
    fn text(&self) -> &str {
        match self.form {
            Form::Json(value) => value.text(),
            Form::Text(text) => text,
        }
    }

    fn refused(&self, expected: &str) -> Error {
        let text = self.text();
        let refusal = match self.subject {
            Subject::Field(name) => Refusal::invalid_field(&format!("`{name}`"), expected, text),
            Subject::Member { field, name } => {
                let subject = format!("The count of {name:?} in `{}`", field.name);
                Refusal::invalid_field(&subject, expected, text)
            }
            Subject::Whole(subject) => Refusal::invalid_field(subject, expected, text),
        };
        refusal.into()
    }

    fn refused_by(&self, expected: &dyn Expected) -> Error {
        match self.subject {
            // All values of such an object must be strings, so the object is refused.
            Subject::Member { field: ObjectField { name, expected }, .. } => {
                Refusal::invalid_field(&format!("`{name}`"), expected, self.text()).into()
            }
            _ => self.refused(&expected.to_string()),
        }
    }

    /// Adds the value to the error of its visitor.
    fn about(&self, error: Error) -> Error {
        match error {
            Error::Expected(expected) => self.refused(&expected),
            error => error,
        }
    }
}

impl<'de> Deserializer<'de> for Sent<'de, '_> {
    type Error = Error;

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.form {
            Form::Json(value) => match value.string() {
                Some(text) => visitor.visit_str(&text).map_err(|error| self.about(error)),
                None => Err(self.refused_by(&visitor)),
            },
            Form::Text(text) => visitor.visit_str(text).map_err(|error| self.about(error)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.text();
        // Rust would read a plus sign as well.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
        match digits.flatten() {
            Some(number) => visitor.visit_u64(number).map_err(|error| self.about(error)),
            None => Err(self.refused_by(&visitor)),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Form::Json(value) = self.form else { return Err(Error::unsupported()) };
        match value.integer() {
            Some(Integer::Fits(number)) => visitor.visit_i64(number),
            // A count so large is refused later: a mistake in the semaphore is reported first.
            Some(Integer::TooLarge) => visitor.visit_i64(i64::MAX),
            None => Err(self.refused("an integer of 64 bits")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (Form::Json(value), Subject::Field(name)) = (self.form, self.subject) else {
            return Err(Error::unsupported());
        };
        let expected = (&visitor as &dyn Expected).to_string();
        let members = value.members().ok_or_else(|| self.refused(&expected))?;
        let members = members.unique(name)?;
        let field = ObjectField { name, expected: &expected };
        visitor.visit_map(Object { field, members: members.iter(), value: None })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // A `null` that was sent is refused by the type in the option.
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::unsupported())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct struct enum identifier ignored_any
    }
}

/// The members of a field that is an object.
struct Object<'de, 's> {
    field: ObjectField<'s>,
    members: slice::Iter<'s, (Cow<'de, str>, Value<'de>)>,
    /// The value that is read next.
    value: Option<Sent<'de, 's>>,
}

impl<'de> MapAccess<'de> for Object<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.members.next() else { return Ok(None) };
        let subject = Subject::Member { field: self.field, name };
        self.value = Some(Sent { form: Form::Json(*value), subject });
        seed.deserialize((**name).into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.value.take().expect("a value is read after its name"))
    }
}

/// Why a request cannot be read.
#[derive(Debug)]
enum Error {
    /// A visitor expects something else. Which value it refuses is added by [`Sent`].
    Expected(String),
    /// The field with this index was not sent.
    Missing(usize),
    /// Boxed, because every step returns it.
    Refused(Box<Refusal>),
}

impl Error {
    /// For types that no request has.
    fn unsupported() -> Self {
        Refusal::internal().into()
    }

    fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => *refusal,
            Self::Expected(_) | Self::Missing(_) => Refusal::internal(),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(expected: T) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_length(length: usize, _: &dyn Expected) -> Self {
        Self::Missing(length)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use throttle_wire::{LockRequest, Restore};

    use super::*;

    fn refusal<'a, T: Deserialize<'a> + fmt::Debug>(body: &'a str) -> String {
        format!("{:?}", from_body::<T>(body.as_bytes()).unwrap_err())
    }

    #[test]
    fn the_first_declared_of_several_wrong_fields_is_reported() {
        for (body, wrong) in [
            (r#"{"sequence":-1,"peer_id":0,"expires_in":5}"#, "`expires_in` must be"),
            (r#"{"sequence":-1,"peer_id":0}"#, "`expires_in` is missing"),
            (r#"{"sequence":-1,"peer_id":0,"expires_in":"5m"}"#, "`peer_id` must be"),
            (r#"{"sequence":-1,"peer_id":1,"expires_in":"5m"}"#, "`acquired` is missing"),
            (
                r#"{"sequence":-1,"labels":0,"acquired":{},"peer_id":1,"expires_in":"5m"}"#,
                "`labels` must",
            ),
            (
                r#"{"sequence":-1,"acquired":{},"peer_id":1,"expires_in":"5m"}"#,
                "`sequence` must be",
            ),
        ] {
            let refusal = refusal::<Restore>(body);
            assert!(refusal.contains(wrong), "{body}: {refusal}");
        }
    }

    #[test]
    fn null_is_not_an_absent_field() {
        for field in ["expires_in", "block_for", "sequence"] {
            let refusal = refusal::<LockRequest>(&format!(r#"{{"{field}":null}}"#));
            assert!(refusal.contains(&format!("`{field}` must be")), "{refusal}");
        }
    }

    #[test]
    fn types_that_no_request_has_are_an_internal_error() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "it is never read")]
        struct Unsupported {
            flag: bool,
        }
        assert_eq!(from_body::<Unsupported>(br#"{"flag":true}"#).unwrap_err(), Refusal::internal());
        assert_eq!(from_body::<bool>(b"true").unwrap_err(), Refusal::internal());
    }
}

//! Reads the types of [`throttle_wire`] from bodies and query strings, with errors in our own words.
//!
//! What is read is given by the derived `Deserialize` of each type, so no name of a field is repeated
//! here. A struct is read as the sequence of its fields in the order of their declaration: if several
//! fields are wrong, the first of them is reported, whatever the order in which they were sent.

use std::{fmt, slice, vec};

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

/// Where a request is read from.
enum Source<'de> {
    Body(&'de [u8]),
    Query(&'de Parameters<'de>),
}

/// The fields of a request by name.
enum Fields<'de> {
    Members(Members<'de>),
    Parameters(&'de Parameters<'de>),
}

impl<'de> Source<'de> {
    /// The fields that were sent. `names` are those of the struct that is read.
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
    /// The field of this name, if it was sent. One that was sent twice is refused.
    fn find(&self, name: &str) -> Result<Option<Form<'de>>, Refusal> {
        match self {
            Self::Members(members) => Ok(members.find(name)?.map(Form::Json)),
            Self::Parameters(parameters) => Ok(parameters.find(name)?.map(Form::Text)),
        }
    }
}

/// Reads a struct; a request is nothing else.
impl<'de> Deserializer<'de> for Source<'de> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let fields = self.fields(names).map_err(Error::Refused)?;
        let sequence = InDeclaredOrder { fields, names: names.iter() };
        visitor.visit_seq(sequence).map_err(|error| match error {
            Error::Missing(index) => Error::Refused(Refusal::missing_field(names[index])),
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

/// The fields of a struct in the order of their declaration. One that was not sent is `None`: the
/// derived visitor takes the default of the field, or reports an
/// [`invalid_length`](serde::de::Error::invalid_length) that is the index of the field.
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
        let Some(form) = self.fields.find(name).map_err(Error::Refused)? else { return Ok(None) };
        seed.deserialize(Sent { form, subject: Subject::Field(name) }).map(Some)
    }
}

/// A value that was sent, and how it is named in the sentence that refuses it.
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
    /// A member of the object that a field is.
    Member {
        field: Field<'s>,
        name: &'s str,
    },
    Whole(&'static str),
}

/// A field that is an object.
#[derive(Clone, Copy)]
struct Field<'s> {
    /// Its name, quoted.
    name: &'s str,
    /// What its visitor expects.
    expected: &'s str,
}

impl Sent<'_, '_> {
    /// The text that was sent, which the client recognises.
    fn text(&self) -> &str {
        match self.form {
            Form::Json(value) => value.text(),
            Form::Text(text) => text,
        }
    }

    fn refused(&self, expected: &str) -> Error {
        let text = self.text();
        Error::Refused(match self.subject {
            Subject::Field(name) => Refusal::invalid_field(&format!("`{name}`"), expected, text),
            Subject::Member { field, name } => {
                let subject = format!("The count of {name:?} in {}", field.name);
                Refusal::invalid_field(&subject, expected, text)
            }
            Subject::Whole(subject) => Refusal::invalid_field(subject, expected, text),
        })
    }

    fn refused_by(&self, expected: &dyn Expected) -> Error {
        match self.subject {
            // A string of an object is nothing without the others, so the object is refused.
            Subject::Member { field: Field { name, expected }, .. } => {
                Error::Refused(Refusal::invalid_field(name, expected, self.text()))
            }
            _ => self.refused(&expected.to_string()),
        }
    }

    /// The error of a visitor, with the value that it is about.
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
        let (name, expected) = (format!("`{name}`"), (&visitor as &dyn Expected).to_string());
        let members = value.members().ok_or_else(|| self.refused(&expected))?;
        let members: Vec<_> = members.unique(&name).map_err(Error::Refused)?;
        let field = Field { name: &name, expected: &expected };
        visitor.visit_map(Object { field, members: members.into_iter(), current: None })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // `null` is a value that was sent.
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
    field: Field<'s>,
    members: vec::IntoIter<(String, Value<'de>)>,
    /// The member whose name was read and whose value was not.
    current: Option<(String, Value<'de>)>,
}

impl<'de> MapAccess<'de> for Object<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.current = self.members.next();
        let Some((name, _)) = &self.current else { return Ok(None) };
        seed.deserialize(name.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let (name, value) = self.current.take().expect("a value is read after its name");
        let subject = Subject::Member { field: self.field, name: &name };
        seed.deserialize(Sent { form: Form::Json(value), subject })
    }
}

/// Why a request cannot be read.
#[derive(Debug)]
enum Error {
    /// A visitor expects something else. Which value it refuses is added by [`Sent`].
    Expected(String),
    /// The field with this index was not sent.
    Missing(usize),
    Refused(Refusal),
}

impl Error {
    /// For types that no request has.
    fn unsupported() -> Self {
        Self::Refused(Refusal::internal())
    }

    fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Expected(_) | Self::Missing(_) => Refusal::internal(),
        }
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

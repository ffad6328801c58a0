//! JSON objects, strict: no member twice, no depth without bound, no type taken for another.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may nest.
const MAX_DEPTH: usize = 32;

/// Why bytes are not an object that we accept.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Longer than the caller allows.
    #[error("{found} bytes of JSON, and at most {allowed} are allowed")]
    TooLarge {
        /// How many came.
        found: usize,
        /// How many may come.
        allowed: usize,
    },
    /// Not JSON, a member twice, or nested deeper than 32.
    #[error("not acceptable JSON: {0}")]
    Syntax(String),
    /// JSON, but no object.
    #[error("the JSON is not an object")]
    NotAnObject,
}

/// Why a member cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// It is not there.
    #[error("the member {0} is missing")]
    Missing(&'static str),
    /// It has another JSON type; `null` is another type too.
    #[error("the member {name} is not {expected}")]
    WrongType {
        /// The member.
        name: String,
        /// The type that it must have.
        expected: &'static str,
    },
}

/// A JSON object in which no member comes twice, at any depth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Map<String, Value>);

/// Reads one object of at most `max_len` bytes, with nothing behind it.
///
/// # Errors
/// Anything else, a duplicate member at any depth included (RFC 7515 section 4, RFC 7519 section 4).
pub fn parse_object(bytes: &[u8], max_len: usize) -> Result<Object, JsonError> {
    match parse_value(bytes, max_len)? {
        Value::Object(members) => Ok(Object(members)),
        _ => Err(JsonError::NotAnObject),
    }
}

/// Reads one value of at most `max_len` bytes as strictly: what no specification of ours calls for an object of, such as
/// a list that the interface of a provider answers with.
///
/// # Errors
/// No JSON, something behind it, a duplicate member at any depth, or nested too deep.
pub fn parse_value(bytes: &[u8], max_len: usize) -> Result<Value, JsonError> {
    if bytes.len() > max_len {
        return Err(JsonError::TooLarge {
            found: bytes.len(),
            allowed: max_len,
        });
    }
    let syntax = |error: serde_json::Error| JsonError::Syntax(Problem::of(&error).to_owned());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }
        .deserialize(&mut deserializer)
        .map_err(syntax)?;
    deserializer.end().map_err(syntax)?;
    Ok(value)
}

/// What is wrong, without the text of the document: it may hold secrets.
struct Problem;

impl Problem {
    fn of(error: &serde_json::Error) -> &'static str {
        match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Data => "a member comes twice, or it nests too deep",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "syntax",
        }
    }
}

impl Object {
    /// The member as it stands.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value at the end of a path: members joined by dots, numbers for places in a list. An empty path is nowhere.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Value> {
        if path.is_empty() {
            return None;
        }
        let mut parts = path.split('.');
        let mut at = self.0.get(parts.next()?)?;
        for part in parts {
            at = match at {
                Value::Object(members) => members.get(part)?,
                Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(at)
    }

    /// Whether there is such a member, of whatever type.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A string.
    ///
    /// # Errors
    /// Any other type.
    pub fn string(&self, name: &str) -> Result<Option<&str>, ClaimError> {
        self.typed(name, "a string", Value::as_str)
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// Absent, or any other type.
    pub fn require_string(&self, name: &'static str) -> Result<&str, ClaimError> {
        self.string(name)?.ok_or(ClaimError::Missing(name))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// Any other type; the string `"true"` is one.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ClaimError> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A number.
    ///
    /// # Errors
    /// Any other type; the string `"1"` is one.
    pub fn number(&self, name: &str) -> Result<Option<f64>, ClaimError> {
        self.typed(name, "a number", Value::as_f64)
    }

    /// An object.
    ///
    /// # Errors
    /// Any other type.
    pub fn object(&self, name: &str) -> Result<Option<Self>, ClaimError> {
        self.typed(name, "an object", |value| {
            value.as_object().cloned().map(Self)
        })
    }

    /// An array of strings.
    ///
    /// # Errors
    /// Any other type, or an element of one.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<&str>>, ClaimError> {
        self.typed(name, "an array of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    /// The names of all members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn typed<'a, T>(
        &'a self,
        name: &str,
        expected: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ClaimError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| ClaimError::WrongType {
                name: name.to_owned(),
                expected,
            }),
        }
    }
}

/// Builds a value, refusing members that come twice and deep nesting.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom("nested too deep"));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(seed)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(seed)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member comes twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Object, JsonError> {
        parse_object(text.as_bytes(), 10_000)
    }

    // S26
    #[test]
    fn only_one_object_with_each_member_once_is_accepted() {
        assert!(parse(r#" {"a":{"b":[1,-2,1e300,true,null,"x"]}} "#).is_ok());
        for bad in [
            "",
            "[]",
            "1",
            "null",
            "\"a\"",
            "{",
            "{}{}",
            "{} x",
            "\u{feff}{}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\ud800"}"#,
            "{'a':1}",
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse_object(b"{\"a\":\"\xff\"}", 100).is_err());
        assert!(matches!(
            parse_object(b"{}", 1),
            Err(JsonError::TooLarge { .. })
        ));
    }

    // S26
    #[test]
    fn nesting_ends_at_thirty_two() {
        let nested = |depth: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        assert!(parse(&nested(32)).is_ok());
        assert!(parse(&nested(33)).is_err());
        assert!(parse(&nested(5_000)).is_err());
    }

    // S41
    #[test]
    fn a_wrong_type_is_an_error_and_never_absent() {
        let object =
            parse(r#"{"s":"x","n":1.5,"b":true,"z":null,"a":["x"],"m":["x",1],"o":{}}"#).unwrap();
        assert_eq!(object.string("s"), Ok(Some("x")));
        assert_eq!(object.string("none"), Ok(None));
        assert_eq!(
            object.require_string("none"),
            Err(ClaimError::Missing("none"))
        );
        assert_eq!(object.number("n"), Ok(Some(1.5)));
        assert_eq!(object.strings("a"), Ok(Some(vec!["x"])));
        for name in ["n", "b", "z", "a", "o"] {
            assert!(object.string(name).is_err(), "{name}");
        }
        for name in ["s", "b", "z", "a"] {
            assert!(object.number(name).is_err(), "{name}");
        }
        assert!(
            object.boolean("s").is_err()
                && object.strings("m").is_err()
                && object.strings("s").is_err()
                && object.object("a").is_err()
        );
    }

    #[test]
    fn an_error_does_not_repeat_the_document() {
        let error = parse(r#"{"access_token":"canary","access_token":"canary"}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn an_error_says_what_kind_of_mistake_it_is() {
        for (text, says) in [
            (r#"{"a""#, "it ends too early"),
            (r#"{"a":1,"a":1}"#, "a member comes twice"),
            (r#"{"a" 1}"#, "syntax"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn every_type_keeps_its_value() {
        let object =
            parse(r#"{"b":true,"z":null,"e":"a\u0062","i":-7,"u":18446744073709551615}"#).unwrap();
        assert_eq!(object.boolean("b"), Ok(Some(true)));
        assert_eq!(object.value("z"), Some(&Value::Null));
        assert_eq!(object.string("e"), Ok(Some("ab")));
        assert_eq!(object.value("i"), Some(&Value::from(-7)));
        assert_eq!(object.value("u"), Some(&Value::from(u64::MAX)));
    }

    proptest! {
        // S96
        #[test]
        fn parsing_is_total_and_agrees_with_serde_json(text in r#"[{}\[\]",:a0-9eE.+\-\\u ]{0,60}"#) {
            if let Ok(Object(map)) = parse(&text) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), Value::Object(map));
            }
        }

        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_object(&bytes, 150);
        }
    }
}

//! Kinds of parameters: how each is read, and how the API's description shows it.

use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use session_core::SwarmId;
use session_core::id::ParseIdError;

use super::Profile;
use crate::digits;
use crate::fields::{BadField, Fields, identity_id};

/// Where a value stands, for errors.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) field: &'a str,
    pub(crate) index: Option<usize>,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field)?;
        self.index.map_or(Ok(()), |index| write!(f, "[{index}]"))
    }
}

impl At<'_> {
    fn bad(self, why: impl Into<String>) -> BadField {
        BadField::new(self.to_string(), why)
    }
}

/// What one value may be.
pub(crate) trait Kind {
    type Value;

    fn read(&self, at: At<'_>, value: &Value, profile: Profile) -> Result<Self::Value, BadField>;

    /// Returns the JSON Schema of what is taken.
    fn schema(&self) -> Value;

    /// Returns a value that is taken.
    fn sample(&self) -> Value;
}

/// One parameter, as the API's description shows it.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) schema: Value,
    pub(crate) sample: Value,
}

/// How a member of a method's parameters is taken out of the table.
pub(crate) trait Take {
    type Value;

    fn take(
        &self,
        name: &'static str,
        fields: &mut Fields<'_>,
        profile: Profile,
    ) -> Result<Self::Value, BadField>;

    fn parameters(&self, name: &'static str) -> Vec<Parameter>;
}

fn parameter(kind: &impl Kind, name: &'static str, required: bool) -> Parameter {
    Parameter { name, required, schema: kind.schema(), sample: kind.sample() }
}

pub(crate) struct Required<K>(pub(crate) K);

impl<K: Kind> Take for Required<K> {
    type Value = K::Value;

    fn take(
        &self,
        name: &'static str,
        fields: &mut Fields<'_>,
        profile: Profile,
    ) -> Result<K::Value, BadField> {
        let value = Optional(&self.0).take(name, fields, profile)?;
        fields.required(name, value)
    }

    fn parameters(&self, name: &'static str) -> Vec<Parameter> {
        vec![parameter(&self.0, name, true)]
    }
}

pub(crate) struct Optional<K>(pub(crate) K);

impl<K: Kind> Take for Optional<K> {
    type Value = Option<K::Value>;

    fn take(
        &self,
        name: &'static str,
        fields: &mut Fields<'_>,
        profile: Profile,
    ) -> Result<Option<K::Value>, BadField> {
        let Some(value) = fields.value(name) else { return Ok(None) };
        let field = fields.name(name);
        self.0.read(At { field: &field, index: None }, value, profile).map(Some)
    }

    fn parameters(&self, name: &'static str) -> Vec<Parameter> {
        vec![parameter(&self.0, name, false)]
    }
}

/// Optional, with what stands for its absence.
pub(crate) struct Or<K, V>(pub(crate) K, pub(crate) V);

impl<K: Kind<Value = V>, V: Clone + Into<Value>> Take for Or<K, V> {
    type Value = V;

    fn take(
        &self,
        name: &'static str,
        fields: &mut Fields<'_>,
        profile: Profile,
    ) -> Result<V, BadField> {
        let value = Optional(&self.0).take(name, fields, profile)?;
        Ok(value.unwrap_or_else(|| self.1.clone()))
    }

    fn parameters(&self, name: &'static str) -> Vec<Parameter> {
        let mut parameter = parameter(&self.0, name, false);
        parameter.schema["default"] = self.1.clone().into();
        vec![parameter]
    }
}

impl<K: Kind> Kind for &K {
    type Value = K::Value;

    fn read(&self, at: At<'_>, value: &Value, profile: Profile) -> Result<K::Value, BadField> {
        (*self).read(at, value, profile)
    }

    fn schema(&self) -> Value {
        (*self).schema()
    }

    fn sample(&self) -> Value {
        (*self).sample()
    }
}

fn text<'a>(at: At<'_>, value: &'a Value) -> Result<&'a str, BadField> {
    value.as_str().ok_or_else(|| at.bad("it must be a text"))
}

const SAMPLE_ID: [u8; 32] = [0x5e; 32];

/// An id: 64 hex digits, with or without `0x`, or CB58.
pub(crate) struct Id<T>(PhantomData<fn() -> T>);

pub(crate) const fn id<T>() -> Id<T> {
    Id(PhantomData)
}

impl<T: FromStr<Err = ParseIdError>> Kind for Id<T> {
    type Value = T;

    fn read(&self, at: At<'_>, value: &Value, _: Profile) -> Result<T, BadField> {
        let text = text(at, value)?;
        let digits = text.strip_prefix("0x").unwrap_or(text);
        digits.parse().map_err(|error: ParseIdError| at.bad(error.to_string()))
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "description": "64 hex digits or CB58", "maxLength": 66})
    }

    fn sample(&self) -> Value {
        hex::encode(SAMPLE_ID).into()
    }
}

/// A person's or node's id: `07` and 64 hex digits besides the forms of [`Id`].
pub(crate) struct Identity<T>(PhantomData<fn() -> T>);

pub(crate) const fn identity<T>() -> Identity<T> {
    Identity(PhantomData)
}

impl<T: FromStr<Err = ParseIdError>> Kind for Identity<T> {
    type Value = T;

    fn read(&self, at: At<'_>, value: &Value, _: Profile) -> Result<T, BadField> {
        identity_text(at, text(at, value)?)
    }

    fn schema(&self) -> Value {
        json!({
            "type": "string", "maxLength": 68,
            "description": "07 and 64 hex digits, 64 hex digits, or CB58 of the 32 bytes",
        })
    }

    fn sample(&self) -> Value {
        format!("07{}", hex::encode(SAMPLE_ID)).into()
    }
}

pub(crate) fn identity_text<T: FromStr<Err = ParseIdError>>(
    at: At<'_>,
    text: &str,
) -> Result<T, BadField> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() == 66 && digits.starts_with("05") {
        return Err(at.bad(
            "it is a classical (05) id: it has no post-quantum keys; give the id that begins with 07",
        ));
    }
    identity_id(digits).map_err(|error| at.bad(error.to_string()))
}

/// A swarm: up to 16 hex digits.
pub(crate) struct Swarm;

impl Kind for Swarm {
    type Value = SwarmId;

    fn read(&self, at: At<'_>, value: &Value, _: Profile) -> Result<SwarmId, BadField> {
        crate::network_file::swarm_id(text(at, value)?)
            .ok_or_else(|| at.bad("it must have 1 to 16 hex digits"))
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "description": "up to 16 hex digits", "maxLength": 16})
    }

    fn sample(&self) -> Value {
        "5e00000000000000".into()
    }
}

/// Bytes in hex, with or without `0x`.
pub(crate) struct Hex {
    min: usize,
    max: usize,
    // The reference checks no sizes; its own calls send short keys and signatures.
    any_from_go: bool,
}

/// Longest key or signature of those who come from the reference.
const GO_BYTES_MAX: usize = 4096;

impl Hex {
    pub(crate) const fn between(min: usize, max: usize) -> Self {
        Self { min, max, any_from_go: false }
    }

    pub(crate) const fn exactly(size: usize) -> Self {
        Self::between(size, size)
    }

    /// Exactly this size, but any size for those who come from the reference.
    pub(crate) const fn exactly_or_go(size: usize) -> Self {
        Self { min: size, max: size, any_from_go: true }
    }

    const fn range(&self, profile: Profile) -> (usize, usize) {
        match profile {
            Profile::Go if self.any_from_go => (0, GO_BYTES_MAX),
            _ => (self.min, self.max),
        }
    }
}

impl Kind for Hex {
    type Value = Vec<u8>;

    fn read(&self, at: At<'_>, value: &Value, profile: Profile) -> Result<Vec<u8>, BadField> {
        let text = text(at, value)?;
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let ((min, max), bytes) = (self.range(profile), digits.len() / 2);
        if min == max && bytes != min {
            let mut bad = at.bad(format!("it holds {bytes} bytes, it must hold {min}"));
            (bad.got, bad.limit) = (Some(bytes as u64), Some(min as u64));
            return Err(bad);
        }
        if bytes > max {
            return Err(BadField::over(at.to_string(), bytes as u64, max as u64));
        }
        if bytes < min {
            return Err(at.bad(format!("it holds {bytes} bytes, it must hold at least {min}")));
        }
        // The slow decoder says what is wrong.
        digits::decode(digits)
            .map_or_else(|| hex::decode(digits), Ok)
            .map_err(|error| at.bad(format!("not hex: {error}")))
    }

    fn schema(&self) -> Value {
        let (min, max) = (self.min, self.max);
        let sizes = if min == max { format!("{min}") } else { format!("{min} to {max}") };
        json!({
            "type": "string", "description": format!("{sizes} bytes in hex"),
            "pattern": "^(0x)?([0-9a-fA-F]{2})*$", "maxLength": 2 * max + 2,
        })
    }

    fn sample(&self) -> Value {
        "c0".repeat(self.min.max(1)).into()
    }
}

/// A whole number, or its decimal digits as a text.
pub(crate) struct Number {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

pub(crate) const ANY_NUMBER: Number = Number { min: 0, max: u64::MAX };

impl Kind for Number {
    type Value = u64;

    fn read(&self, at: At<'_>, value: &Value, _: Profile) -> Result<u64, BadField> {
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok()
            }
            _ => None,
        };
        let (min, max) = (self.min, self.max);
        match number {
            Some(number) if (min..=max).contains(&number) => Ok(number),
            Some(number) if number > max => Err(BadField::over(at.to_string(), number, max)),
            _ => Err(at.bad(format!("it must be a whole number from {min} to {max}"))),
        }
    }

    fn schema(&self) -> Value {
        let mut schema = json!({"type": ["integer", "string"], "minimum": self.min});
        if self.max < u64::MAX {
            schema["maximum"] = self.max.into();
        }
        schema
    }

    fn sample(&self) -> Value {
        self.min.into()
    }
}

/// A text of so many bytes.
pub(crate) struct Words {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl Kind for Words {
    type Value = String;

    fn read(&self, at: At<'_>, value: &Value, _: Profile) -> Result<String, BadField> {
        let text = text(at, value)?;
        if text.len() > self.max {
            return Err(BadField::over(at.to_string(), text.len() as u64, self.max as u64));
        }
        if text.len() < self.min {
            return Err(at.bad("it must not be empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(at.bad("it must not hold control characters"));
        }
        Ok(text.to_owned())
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "minLength": self.min, "maxLength": self.max})
    }

    fn sample(&self) -> Value {
        "lobby".into()
    }
}

/// One of a few words.
pub(crate) struct OneOf<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy> Kind for OneOf<T> {
    type Value = T;

    fn read(&self, at: At<'_>, value: &Value, _: Profile) -> Result<T, BadField> {
        let text = text(at, value)?;
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = self.0.iter().map(|(word, _)| format!("{word:?}")).collect();
            at.bad(format!("it must be one of {}", words.join(", ")))
        })
    }

    fn schema(&self) -> Value {
        let words: Vec<_> = self.0.iter().map(|(word, _)| *word).collect();
        json!({"type": "string", "enum": words})
    }

    fn sample(&self) -> Value {
        self.0.first().map(|(word, _)| *word).into()
    }
}

/// A list.
pub(crate) struct List<K> {
    pub(crate) of: K,
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn read(&self, at: At<'_>, value: &Value, profile: Profile) -> Result<Self::Value, BadField> {
        let list = value.as_array().ok_or_else(|| at.bad("it must be a list"))?;
        if list.len() > self.max {
            return Err(BadField::over(at.to_string(), list.len() as u64, self.max as u64));
        }
        if list.len() < self.min {
            return Err(at.bad(format!("it must hold at least {}", self.min)));
        }
        let read = |(index, value)| self.of.read(At { index: Some(index), ..at }, value, profile);
        list.iter().enumerate().map(read).collect()
    }

    fn schema(&self) -> Value {
        json!({
            "type": "array", "items": self.of.schema(), "minItems": self.min, "maxItems": self.max,
        })
    }

    fn sample(&self) -> Value {
        json!([self.of.sample()])
    }
}

/// A list without repetitions.
pub(crate) struct Distinct<K>(pub(crate) List<K>);

impl<K: Kind<Value: Ord + Copy>> Kind for Distinct<K> {
    type Value = Vec<K::Value>;

    fn read(&self, at: At<'_>, value: &Value, profile: Profile) -> Result<Self::Value, BadField> {
        let list = self.0.read(at, value, profile)?;
        let mut seen = BTreeSet::new();
        match list.iter().position(|value| !seen.insert(*value)) {
            Some(index) => Err(At { index: Some(index), ..at }.bad("it is given twice")),
            None => Ok(list),
        }
    }

    fn schema(&self) -> Value {
        let mut schema = self.0.schema();
        schema["uniqueItems"] = true.into();
        schema
    }

    fn sample(&self) -> Value {
        self.0.sample()
    }
}

/// A table of texts.
pub(crate) struct Texts {
    pub(crate) entries_max: usize,
    pub(crate) key: Words,
    pub(crate) value: Words,
}

impl Kind for Texts {
    type Value = BTreeMap<String, String>;

    fn read(&self, at: At<'_>, value: &Value, profile: Profile) -> Result<Self::Value, BadField> {
        let table: &Map<_, _> = value.as_object().ok_or_else(|| at.bad("it must be an object"))?;
        if table.len() > self.entries_max {
            let (got, limit) = (table.len() as u64, self.entries_max as u64);
            return Err(BadField::over(at.to_string(), got, limit));
        }
        let mut texts = BTreeMap::new();
        for (key, value) in table {
            // The key comes from outside: do not repeat more of it than a key has.
            let shown: String = key.chars().take(self.key.max).collect();
            let field = format!("{at}.{shown}");
            let at = At { field: &field, index: None };
            let key = self.key.read(at, &Value::String(key.clone()), profile)?;
            texts.insert(key, self.value.read(at, value, profile)?);
        }
        Ok(texts)
    }

    fn schema(&self) -> Value {
        json!({
            "type": "object", "maxProperties": self.entries_max,
            "additionalProperties": self.value.schema(),
        })
    }

    fn sample(&self) -> Value {
        json!({"topic": "lunch"})
    }
}

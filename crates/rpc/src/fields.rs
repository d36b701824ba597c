//! Typed reading of a table, with errors that name the field.

use std::collections::BTreeSet;

use base64ct::{Base64, Encoding as _};
use serde_json::{Map, Value};
use session_core::id::ParseIdError;

/// Why a field is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct BadField {
    /// The field, with the path to it.
    pub field: String,
    /// What is wrong.
    pub why: String,
    /// How much there was, when a limit was passed.
    pub got: Option<u64>,
    /// The limit that was passed.
    pub limit: Option<u64>,
}

impl BadField {
    /// Says what is wrong with a field.
    #[must_use]
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into(), got: None, limit: None }
    }

    /// Says that a field is over its limit.
    #[must_use]
    pub fn over(field: impl Into<String>, got: u64, limit: u64) -> Self {
        let why = format!("it is {got}, the limit is {limit}");
        Self { field: field.into(), why, got: Some(got), limit: Some(limit) }
    }
}

/// A table whose fields are taken one by one; what nobody took can be listed.
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    table: &'a Map<String, Value>,
    taken: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    /// Reads `table`, whose place in the whole is `path`; empty at the top.
    #[must_use]
    pub fn new(path: impl Into<String>, table: &'a Map<String, Value>) -> Self {
        Self { path: path.into(), table, taken: BTreeSet::new() }
    }

    /// Returns the full name of a field, for errors.
    #[must_use]
    pub fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// Makes an error about a field.
    #[must_use]
    pub fn bad(&self, field: &str, why: impl Into<String>) -> BadField {
        BadField::new(self.name(field), why)
    }

    /// Takes a field as it is; `null` counts as absent.
    pub fn value(&mut self, field: &'static str) -> Option<&'a Value> {
        self.taken.insert(field);
        self.table.get(field).filter(|value| !value.is_null())
    }

    /// Turns an absent field into an error.
    ///
    /// # Errors
    /// When `value` is `None`.
    pub fn required<T>(&self, field: &'static str, value: Option<T>) -> Result<T, BadField> {
        value.ok_or_else(|| self.bad(field, "it is missing"))
    }

    /// Takes a text.
    ///
    /// # Errors
    /// When the field is of another type.
    pub fn text(&mut self, field: &'static str) -> Result<Option<&'a str>, BadField> {
        let Some(value) = self.value(field) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.bad(field, "it must be a text"))
    }

    /// Takes a text that `T` parses.
    ///
    /// # Errors
    /// When the field is of another type or does not parse.
    pub fn parsed<T>(&mut self, field: &'static str) -> Result<Option<T>, BadField>
    where
        T: core::str::FromStr,
        T::Err: core::fmt::Display,
    {
        let Some(text) = self.text(field)? else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| self.bad(field, error.to_string()))
    }

    /// Takes an integer that is not negative: a number, or its decimal digits as a text, since
    /// JavaScript cannot write every 64-bit number.
    ///
    /// # Errors
    /// When the field is of another type, negative, fractional, or too large.
    pub fn integer(&mut self, field: &'static str) -> Result<Option<u64>, BadField> {
        let Some(value) = self.value(field) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok()
            }
            _ => None,
        };
        let why = "it must be a whole number from 0 to 18446744073709551615";
        number.map(Some).ok_or_else(|| self.bad(field, why))
    }

    /// Takes an integer of at most 16 bits.
    ///
    /// # Errors
    /// As [`Fields::integer`], and when it is above 65535.
    pub fn small_integer(&mut self, field: &'static str) -> Result<Option<u16>, BadField> {
        let Some(number) = self.integer(field)? else { return Ok(None) };
        u16::try_from(number)
            .map(Some)
            .map_err(|_| BadField::over(self.name(field), number, u16::MAX.into()))
    }

    /// Takes bytes in hex.
    ///
    /// # Errors
    /// When the field is of another type or not hex.
    pub fn hex(&mut self, field: &'static str) -> Result<Option<Vec<u8>>, BadField> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        hex::decode(text).map(Some).map_err(|error| self.bad(field, format!("not hex: {error}")))
    }

    /// Takes exactly `size` bytes in hex.
    ///
    /// # Errors
    /// As [`Fields::hex`], and when the size differs.
    pub fn hex_of(
        &mut self,
        field: &'static str,
        size: usize,
    ) -> Result<Option<Vec<u8>>, BadField> {
        let Some(bytes) = self.hex(field)? else { return Ok(None) };
        if bytes.len() == size {
            return Ok(Some(bytes));
        }
        Err(self.bad(field, format!("it holds {} bytes, it must hold {size}", bytes.len())))
    }

    /// Takes bytes in standard base64 with padding.
    ///
    /// # Errors
    /// When the field is of another type or not base64.
    pub fn base64(&mut self, field: &'static str) -> Result<Option<Vec<u8>>, BadField> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        Base64::decode_vec(text)
            .map(Some)
            .map_err(|_| self.bad(field, "not base64 (standard alphabet, with padding)"))
    }

    /// Takes a list.
    ///
    /// # Errors
    /// When the field is of another type.
    pub fn list(&mut self, field: &'static str) -> Result<Option<&'a [Value]>, BadField> {
        let Some(value) = self.value(field) else { return Ok(None) };
        let list = value.as_array().map(Vec::as_slice);
        list.map(Some).ok_or_else(|| self.bad(field, "it must be a list"))
    }

    /// Takes a list of texts that `parse` understands.
    ///
    /// # Errors
    /// When the field is of another type, or one of its values is refused.
    pub fn list_of<T, E: core::fmt::Display>(
        &mut self,
        field: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<Vec<T>>, BadField> {
        let Some(list) = self.list(field)? else { return Ok(None) };
        let mut values = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let at = || self.name(&format!("{field}[{index}]"));
            let text = value.as_str().ok_or_else(|| BadField::new(at(), "it must be a text"))?;
            values.push(parse(text).map_err(|error| BadField::new(at(), error.to_string()))?);
        }
        Ok(Some(values))
    }

    /// Returns the full names of the fields that nobody took.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let left = self.table.keys().filter(|key| !self.taken.contains(key.as_str()));
        left.map(|key| self.name(key)).collect()
    }
}

/// Parses an id of a person or node: `07` and 64 hex digits, 64 hex digits, or CB58.
///
/// # Errors
/// When it is none of these.
pub fn identity_id<T: core::str::FromStr<Err = ParseIdError>>(
    text: &str,
) -> Result<T, ParseIdError> {
    match text.strip_prefix("07") {
        Some(digits) if text.len() == 66 => digits.parse(),
        _ => text.parse(),
    }
}

#[cfg(test)]
mod tests;

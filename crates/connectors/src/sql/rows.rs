//! The JSON that rows become: a list of objects, with the columns in the statement's order.
//!
//! Whole numbers of 64 bits are numbers; decimals, times and everything else are texts, so that no
//! reader makes floats of them; bytes are `0x` and hex.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Error, ROWS_MAX};

/// A value of one column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Rows on their way into JSON.
pub(super) struct Rows {
    /// Names, as JSON has them.
    columns: Vec<String>,
    json: String,
    rows: usize,
    bytes_max: usize,
}

impl Rows {
    pub(super) fn new(columns: &[&str], bytes_max: usize) -> Result<Self, Error> {
        let mut seen = BTreeSet::new();
        for column in columns {
            if !seen.insert(*column) {
                return Err(Error::SameName { column: (*column).to_owned() });
            }
        }
        let columns = columns.iter().map(|column| quoted(column)).collect();
        Ok(Self { columns, json: "[".to_owned(), rows: 0, bytes_max })
    }

    /// Adds a row: a value for each column.
    pub(super) fn push(&mut self, values: impl IntoIterator<Item = Value>) -> Result<(), Error> {
        if self.rows == ROWS_MAX {
            return Err(Error::TooLarge { what: "rows", limit: ROWS_MAX });
        }
        self.json.push_str(if self.rows == 0 { "{" } else { ",{" });
        self.rows += 1;
        for (place, (column, value)) in self.columns.iter().zip(values).enumerate() {
            if place > 0 {
                self.json.push(',');
            }
            self.json.push_str(column);
            self.json.push(':');
            self.json.push_str(&value.json());
        }
        self.json.push('}');
        self.check(self.json.len() + 1)
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.json.push(']');
        self.check(self.json.len())?;
        Ok(self.json.into_bytes())
    }

    const fn check(&self, bytes: usize) -> Result<(), Error> {
        if bytes > self.bytes_max {
            return Err(Error::TooLarge { what: "bytes", limit: self.bytes_max });
        }
        Ok(())
    }
}

impl Value {
    fn json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Text(text) => quoted(text),
            Self::Bytes(bytes) => {
                let mut text = "\"0x".to_owned();
                for byte in bytes {
                    write!(text, "{byte:02x}").expect("a text takes everything");
                }
                text.push('"');
                text
            }
        }
    }
}

/// Returns a text as JSON has it, with as few escapes as there must be (RFC 8785).
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for sign in text.chars() {
        match sign {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            sign if sign < ' ' => {
                write!(json, "\\u{:04x}", u32::from(sign)).expect("a text takes everything");
            }
            sign => json.push(sign),
        }
    }
    json.push('"');
    json
}

/// Returns a float as text: the shortest that reads back as the same, the same on every machine.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        value.to_string()
    }
}

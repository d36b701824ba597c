//! JSON with `//` comments, as the reference's documents show it.

use serde_json::{Map, Value};

/// Why a text is not a JSON table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadText {
    /// It is longer than anything that is read here.
    #[error("{got} bytes are too many, the limit is {limit}")]
    TooLarge {
        /// Its bytes.
        got: usize,
        /// The most bytes.
        limit: usize,
    },
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// It is JSON, and no table.
    #[error("it must be a JSON object")]
    NoTable,
}

/// Parses a table of at most `bytes_max` bytes. `//` outside of texts begins a comment.
///
/// # Errors
/// When it is too long, not JSON, nested too deeply, or no table.
pub fn table(text: &[u8], bytes_max: usize) -> Result<Map<String, Value>, BadText> {
    if text.len() > bytes_max {
        return Err(BadText::TooLarge { got: text.len(), limit: bytes_max });
    }
    let value: Value = serde_json::from_slice(&without_comments(text))
        .map_err(|error| BadText::Syntax(error.to_string()))?;
    match value {
        Value::Object(table) => Ok(table),
        _ => Err(BadText::NoTable),
    }
}

// Comments become spaces: the places in error messages stay right.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut quoted, mut escaped, mut comment) = (false, false, false);
    for (at, &byte) in text.iter().enumerate() {
        comment = match byte {
            b'\n' => false,
            b'/' if !quoted && text.get(at + 1) == Some(&b'/') => true,
            _ => comment,
        };
        if comment {
            out.push(b' ');
            continue;
        }
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests;

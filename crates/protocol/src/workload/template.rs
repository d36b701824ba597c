//! Texts with `{parameter}` in them: addresses, keys, header values.
//!
//! What a program puts in never changes the shape of an address: escaped for one, a value has no
//! `/`, `?`, `#`, `@` or `:`, and a value that is all dots is refused. *Not provided:* that an
//! address is allowed; whoever connects checks it after rendering.

use std::collections::BTreeSet;

use super::oracle::Parameter;

/// The longest text that is rendered.
pub const RENDERED_BYTES_MAX: usize = 8192;

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As they are.
    None,
    /// For a place in an address: all but letters, digits, `-`, `.`, `_` and `~` as `%XX`.
    Url,
}

/// Why a template cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTemplate {
    /// A `{` without its `}`.
    #[error("the {{ at byte {at} has no }}; write {{{{ for a brace")]
    Open {
        /// Where.
        at: usize,
    },
    /// A `}` without its `{`.
    #[error("the }} at byte {at} has no {{; write }}}} for a brace")]
    Close {
        /// Where.
        at: usize,
    },
    /// Between braces is no name.
    #[error("{name:?} is no name of a parameter: letters, digits, _ and - make one")]
    Name {
        /// What is between them.
        name: String,
    },
    /// Nobody gave this parameter.
    #[error("parameter {name:?} is not given")]
    Missing {
        /// Which.
        name: String,
    },
    /// A line break or another control character.
    #[error("parameter {name:?} holds a control character")]
    Control {
        /// Which parameter.
        name: String,
    },
    /// A value of an address that would be taken for "here" or "one up".
    #[error("parameter {name:?} is all dots, which an address takes for a direction")]
    Dots {
        /// Which parameter.
        name: String,
    },
    /// More than [`RENDERED_BYTES_MAX`].
    #[error("the rendered text is longer than {RENDERED_BYTES_MAX} bytes")]
    TooLong,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Parameter(&'a str),
}

/// Returns whether this can be the name of a source or parameter.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= super::manifest::NAME_BYTES_MAX && text.bytes().all(good)
}

/// Returns the names of the parameters in a template.
///
/// # Errors
/// When braces do not match, or there is no name between them.
pub fn parameters(template: &str) -> Result<BTreeSet<&str>, BadTemplate> {
    let names = |piece| match piece {
        Piece::Parameter(name) => Some(name),
        Piece::Text(_) => None,
    };
    Ok(pieces(template)?.into_iter().filter_map(names).collect())
}

/// Puts parameters into a template.
///
/// # Errors
/// When braces do not match, a parameter is not given, a value may not stand there, or the result
/// is too long.
pub fn render(
    template: &str,
    parameters: &[Parameter],
    escape: Escape,
) -> Result<String, BadTemplate> {
    let mut out = String::new();
    for piece in pieces(template)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Parameter(name) => {
                let parameter = parameters.iter().find(|parameter| &*parameter.name == name);
                let missing = || BadTemplate::Missing { name: name.to_owned() };
                put(&mut out, name, &parameter.ok_or_else(missing)?.value, escape)?;
            }
        }
        if out.len() > RENDERED_BYTES_MAX {
            return Err(BadTemplate::TooLong);
        }
    }
    Ok(out)
}

fn put(out: &mut String, name: &str, value: &str, escape: Escape) -> Result<(), BadTemplate> {
    if value.chars().any(char::is_control) {
        return Err(BadTemplate::Control { name: name.to_owned() });
    }
    if escape == Escape::None {
        out.push_str(value);
        return Ok(());
    }
    if !value.is_empty() && value.bytes().all(|byte| byte == b'.') {
        return Err(BadTemplate::Dots { name: name.to_owned() });
    }
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)].into());
            out.push(DIGITS[usize::from(byte & 15)].into());
        }
    }
    Ok(())
}

fn pieces(template: &str) -> Result<Vec<Piece<'_>>, BadTemplate> {
    let mut pieces = Vec::new();
    let mut left = template;
    while let Some(brace) = left.find(['{', '}']) {
        let at = template.len() - left.len() + brace;
        let (before, from) = left.split_at(brace);
        pieces.push(Piece::Text(before));
        if from.starts_with("{{") || from.starts_with("}}") {
            pieces.push(Piece::Text(&from[..1]));
            left = &from[2..];
        } else if let Some(inside) = from.strip_prefix('{') {
            let (name, rest) = inside.split_once('}').ok_or(BadTemplate::Open { at })?;
            if !is_name(name) {
                return Err(BadTemplate::Name { name: name.to_owned() });
            }
            pieces.push(Piece::Parameter(name));
            left = rest;
        } else {
            return Err(BadTemplate::Close { at });
        }
    }
    pieces.push(Piece::Text(left));
    Ok(pieces)
}

#[cfg(test)]
mod tests;

//! File names that are safe to show and to save under, on any system.

use core::fmt;

use session_core::{Decode, DecodeError, Encode, Reader, Text};

/// Longest name in bytes; what file systems take.
pub const NAME_BYTES_MAX: usize = 255;

/// What a name becomes when nothing of it can stay.
const UNNAMED: &str = "file";

/// A name without directories: it has no separators, no control characters, nothing that turns the
/// direction of writing, and is neither empty nor hidden.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(Text<NAME_BYTES_MAX>);

impl FileName {
    /// Makes a safe name out of any text, changing as little as possible.
    #[must_use]
    pub fn sanitise(name: &str) -> Self {
        let safe: String = name.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
        // Dots and spaces at the ends hide a file, mean a directory, or vanish on some systems.
        let cut = cut(safe.trim_matches(is_loose));
        let cut = cut.trim_end_matches(is_loose);
        let name = if cut.is_empty() { UNNAMED } else { cut };
        Self(Text::new(name).expect("cut to the limit"))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Encode for FileName {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

// A sender who skips the cleaning is refused: the receiver never repairs a name.
impl Decode for FileName {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = Text::<NAME_BYTES_MAX>::decode(reader)?;
        let safe = Self::sanitise(&name);
        if safe.0 == name {
            Ok(safe)
        } else {
            Err(DecodeError::Invalid { field: "file name", why: "not safe to save under" })
        }
    }
}

fn is_unsafe(c: char) -> bool {
    let separator_or_reserved = matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    separator_or_reserved || crate::shown::steers(c)
}

fn is_loose(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

// Keeps the extension when the name is cut: it says what the file is.
fn cut(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let extension = match name.rsplit_once('.') {
        Some((_, extension)) if extension.len() <= 16 => &name[name.len() - extension.len() - 1..],
        _ => "",
    };
    let mut end = NAME_BYTES_MAX - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &name[..end])
}

#[cfg(test)]
mod tests;

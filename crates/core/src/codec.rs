//! The canonical codec: fixed-width big-endian integers, `u32` length prefixes with a limit per
//! field, explicit tags, no maps, no floats.
//!
//! Decoding consumes every byte, allocates only after the limit check, and rejects what encoding
//! would not produce. Limits live in the types: [`Blob`], [`List`] and [`Text`] cannot be built
//! over their bound.

use core::fmt;

/// Why bytes are not the value they claim to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("data too short: {needed} bytes needed, {left} left")]
    TooShort {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes remain after the last field.
    #[error("{left} bytes left over after the last field")]
    Trailing {
        /// Bytes that are left.
        left: usize,
    },
    /// A length is over its limit; nothing was allocated.
    #[error("{field} holds {got}, the limit is {limit}")]
    OverLimit {
        /// The type or field.
        field: &'static str,
        /// The length on the wire.
        got: usize,
        /// The longest that is accepted.
        limit: usize,
    },
    /// A tag or discriminant that nobody defined.
    #[error("{field} has no variant {got}")]
    UnknownTag {
        /// The type.
        field: &'static str,
        /// The tag on the wire.
        got: u64,
    },
    /// A value that encoding would never produce.
    #[error("{field} is not valid: {why}")]
    Invalid {
        /// The type or field.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A cursor over bytes from outside.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Returns how many bytes are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.left.len()
    }

    /// Takes `length` bytes without copying them.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, left) = self
            .left
            .split_at_checked(length)
            .ok_or(DecodeError::TooShort { needed: length, left: self.left.len() })?;
        self.left = left;
        Ok(taken)
    }

    /// Takes a fixed number of bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, left) = self
            .left
            .split_first_chunk::<N>()
            .ok_or(DecodeError::TooShort { needed: N, left: self.left.len() })?;
        self.left = left;
        Ok(*taken)
    }

    /// Takes a `u32` length and checks it against `limit`.
    ///
    /// # Errors
    /// When the length is over the limit or the bytes end.
    pub fn length(&mut self, field: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let got = u32::decode(self)? as usize;
        if got > limit {
            return Err(DecodeError::OverLimit { field, got, limit });
        }
        Ok(got)
    }

    /// Checks that every byte was consumed.
    ///
    /// # Errors
    /// When bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.left.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing { left: self.left.len() })
        }
    }
}

/// A value with one canonical encoding.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Returns the encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A value that can be read back from its canonical encoding.
pub trait Decode: Sized {
    /// Reads one value, leaving the rest.
    ///
    /// # Errors
    /// When the bytes are not a canonical encoding.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value that fills `bytes` exactly.
    ///
    /// # Errors
    /// As [`Decode::decode`], and when bytes are left over.
    fn decode_exact(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Encode for $int {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
        impl Decode for $int {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self::from_be_bytes)
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, i16);

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Decode for bool {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(DecodeError::UnknownTag { field: "bool", got: got.into() }),
        }
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode(out);
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::decode(reader)? { Some(T::decode(reader)?) } else { None })
    }
}

impl<T: Encode> Encode for Box<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(reader).map(Self::new)
    }
}

/// A value was longer than its type allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got} is over the limit of {limit}")]
pub struct OverLimit {
    /// The length given.
    pub got: usize,
    /// The longest allowed.
    pub limit: usize,
}

/// At most `MAX` bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Blob<MAX> {
    /// Takes the bytes if they are within the bound.
    ///
    /// # Errors
    /// When there are more than `MAX` bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, OverLimit> {
        let bytes = bytes.into();
        if bytes.len() > MAX {
            return Err(OverLimit { got: bytes.len(), limit: MAX });
        }
        Ok(Self(bytes))
    }

    /// Returns the bytes, given up.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const MAX: usize> core::ops::Deref for Blob<MAX> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

// Contents may be private: only the length is printed.
impl<const MAX: usize> fmt::Debug for Blob<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl<const MAX: usize> Encode for Blob<MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        length_prefix(self.0.len()).encode(out);
        out.extend_from_slice(&self.0);
    }
}

impl<const MAX: usize> Decode for Blob<MAX> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.length("bytes", MAX)?;
        Ok(Self(reader.take(length)?.to_vec()))
    }
}

/// At most `MAX` bytes of UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Takes the text if it is within the bound.
    ///
    /// # Errors
    /// When it is longer than `MAX` bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, OverLimit> {
        let text = text.into();
        if text.len() > MAX {
            return Err(OverLimit { got: text.len(), limit: MAX });
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> core::ops::Deref for Text<MAX> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> Encode for Text<MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        length_prefix(self.0.len()).encode(out);
        out.extend_from_slice(self.0.as_bytes());
    }
}

impl<const MAX: usize> Decode for Text<MAX> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.length("text", MAX)?;
        let bytes = reader.take(length)?;
        core::str::from_utf8(bytes)
            .map(|text| Self(text.to_owned()))
            .map_err(|_| DecodeError::Invalid { field: "text", why: "not UTF-8" })
    }
}

/// At most `MAX` values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> List<T, MAX> {
    /// Takes the values if there are not too many.
    ///
    /// # Errors
    /// When there are more than `MAX`.
    pub fn new(values: impl Into<Vec<T>>) -> Result<Self, OverLimit> {
        let values = values.into();
        if values.len() > MAX {
            return Err(OverLimit { got: values.len(), limit: MAX });
        }
        Ok(Self(values))
    }

    /// Returns the values, given up.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> core::ops::Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> IntoIterator for List<T, MAX> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T, const MAX: usize> IntoIterator for &'a List<T, MAX> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: Encode, const MAX: usize> Encode for List<T, MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        length_prefix(self.0.len()).encode(out);
        for value in &self.0 {
            value.encode(out);
        }
    }
}

impl<T: Decode, const MAX: usize> Decode for List<T, MAX> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.length("list", MAX)?;
        // Every encoded value has at least one byte: a short message cannot claim a long list.
        if length > reader.left() {
            return Err(DecodeError::TooShort { needed: length, left: reader.left() });
        }
        let mut values = Vec::with_capacity(length.min(1024));
        for _ in 0..length {
            values.push(T::decode(reader)?);
        }
        Ok(Self(values))
    }
}

fn length_prefix(length: usize) -> u32 {
    u32::try_from(length).expect("bounded types are far below 4 GiB")
}

/// Defines a struct whose encoding is its fields in order.
#[macro_export]
macro_rules! record {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $ty:ty,)*
    })*) => {$(
        $(#[$meta])*
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $ty,)* }

        impl $crate::Encode for $name {
            fn encode(&self, _out: &mut Vec<u8>) {
                $($crate::Encode::encode(&self.$field, _out);)*
            }
        }

        impl $crate::Decode for $name {
            fn decode(_reader: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                Ok(Self { $($field: $crate::Decode::decode(_reader)?,)* })
            }
        }
    )*};
}

/// Defines an enum whose encoding is a tag byte and the fields of the variant in order.
#[macro_export]
macro_rules! choice {
    ($($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$variant_meta:meta])* $tag:literal => $variant:ident $({
            $($(#[$field_meta:meta])* $field:ident: $ty:ty,)*
        })?,)*
    })*) => {$(
        $(#[$meta])*
        $vis enum $name {
            $($(#[$variant_meta])* $variant $({ $($(#[$field_meta])* $field: $ty,)* })?,)*
        }

        impl $crate::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field,)* })? => {
                        out.push($tag);
                        $($($crate::Encode::encode($field, out);)*)?
                    })*
                }
            }
        }

        impl $crate::Decode for $name {
            fn decode(reader: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                match <u8 as $crate::Decode>::decode(reader)? {
                    $($tag => Ok(Self::$variant $({
                        $($field: $crate::Decode::decode(reader)?,)*
                    })?),)*
                    got => Err($crate::DecodeError::UnknownTag {
                        field: stringify!($name),
                        got: got.into(),
                    }),
                }
            }
        }
    )*};
}

#[cfg(test)]
mod tests;

//! How values lie in a ZAP body: big-endian integers, `u32` lengths and counts.

use session_core::{BlockId, ChainId};

/// A body that is not what its message type says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The body ends before the field does.
    #[error("field {field} needs {needed} bytes, {left} are left")]
    Ends {
        /// The field.
        field: &'static str,
        /// Bytes that it still needs.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A list claims more items than its bytes could hold.
    #[error("field {field} claims {count} items, {left} bytes are left")]
    Count {
        /// The field.
        field: &'static str,
        /// The claimed number of items.
        count: u32,
        /// Bytes that are there.
        left: usize,
    },
    /// Text is not UTF-8.
    #[error("field {field} is not UTF-8")]
    NotText {
        /// The field.
        field: &'static str,
    },
    /// An id has not 32 bytes.
    #[error("field {field} has {length} bytes, an id has 32")]
    NotAnId {
        /// The field.
        field: &'static str,
        /// Its bytes.
        length: usize,
    },
}

/// The part of a body that is not read yet.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of a body.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { left: body }
    }

    /// Returns how many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// Takes the next `length` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], WireError> {
        let ends = WireError::Ends { field, needed: length, left: self.left.len() };
        let (taken, left) = self.left.split_at_checked(length).ok_or(ends)?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let ends = WireError::Ends { field, needed: N, left: self.left.len() };
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(ends)?;
        self.left = left;
        Ok(*taken)
    }
}

/// A value with a place in a body.
pub trait Field: Sized {
    /// The fewest bytes one of them takes: bounds the count of a list before it is believed.
    const BYTES_MIN: usize;

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are not such a value; the error names `field`.
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError>;

    /// Writes it.
    fn write(&self, out: &mut Vec<u8>);
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Field for $integer {
            const BYTES_MIN: usize = size_of::<Self>();

            fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
                reader.array(field).map(Self::from_be_bytes)
            }

            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}

integers!(u8, u32, u64, i32, i64);

impl Field for bool {
    const BYTES_MIN: usize = 1;

    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        Ok(u8::read(reader, field)? != 0)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

/// Writes the `u32` length of something, or its count.
pub(super) fn write_length(length: usize, out: &mut Vec<u8>) {
    // Nothing longer than a frame is ever written; what would be is refused when it is framed.
    u32::try_from(length).unwrap_or(u32::MAX).write(out);
}

/// Writes bytes with their length.
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn read_bytes<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], WireError> {
    let length = u32::read(reader, field)? as usize;
    reader.take(field, length)
}

/// A byte string. In a struct of its own, so that lists of `u8` and byte strings stay apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Field for Bytes {
    const BYTES_MIN: usize = 4;

    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        read_bytes(reader, field).map(|bytes| Self(bytes.to_vec()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(&self.0, out);
    }
}

impl Field for String {
    const BYTES_MIN: usize = 4;

    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        let text = std::str::from_utf8(read_bytes(reader, field)?);
        text.map(str::to_owned).map_err(|_| WireError::NotText { field })
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.as_bytes(), out);
    }
}

macro_rules! ids {
    ($($id:ty),*) => {$(
        impl Field for $id {
            const BYTES_MIN: usize = 4 + 32;

            fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
                let bytes = read_bytes(reader, field)?;
                let id = <[u8; 32]>::try_from(bytes);
                id.map(Self::from).map_err(|_| WireError::NotAnId { field, length: bytes.len() })
            }

            fn write(&self, out: &mut Vec<u8>) {
                write_bytes(self.as_ref(), out);
            }
        }
    )*};
}

ids!(BlockId, ChainId);

impl<T: Field> Field for Vec<T> {
    const BYTES_MIN: usize = 4;

    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        let count = u32::read(reader, field)?;
        let left = reader.left();
        if count as usize > left / T::BYTES_MIN {
            return Err(WireError::Count { field, count, left });
        }
        (0..count).map(|_| T::read(reader, field)).collect()
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        for item in self {
            item.write(out);
        }
    }
}

/// A field that was appended to a message later: absent in what older hosts send.
///
/// Writing an absent field writes nothing, so everything behind it must be absent as well.
impl<T: Field> Field for Option<T> {
    const BYTES_MIN: usize = 0;

    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        // Fewer bytes than a value needs are no field, but something that is not known here.
        if reader.left() < T::BYTES_MIN { Ok(None) } else { T::read(reader, field).map(Some) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.write(out);
        }
    }
}

/// A height of the platform chain behind a byte that says whether it is there; older forms of the
/// messages end before that byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlatformHeight(pub Option<u64>);

impl Field for PlatformHeight {
    const BYTES_MIN: usize = 0;

    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        let there = reader.left() > 0 && bool::read(reader, field)?;
        if there {
            u64::read(reader, field).map(|height| Self(Some(height)))
        } else {
            Ok(Self(None))
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.is_some().write(out);
        if let Some(height) = self.0 {
            height.write(out);
        }
    }
}

/// A body with named fields.
pub trait Message: Sized {
    /// Reads a body; bytes behind the known fields are ignored, for they are newer ones.
    ///
    /// # Errors
    /// When a field is malformed or missing.
    fn decode(body: &[u8]) -> Result<Self, WireError>;

    /// Returns the body.
    fn encode(&self) -> Vec<u8>;
}

/// Defines bodies: structs whose fields are written in the order of their definition.
macro_rules! messages {
    ($($(#[$meta:meta])* $vis:vis $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$field_meta])* $vis $field: $type,)*
        }

        impl $crate::zap::wire::Field for $name {
            const BYTES_MIN: usize = 0 $(+ <$type as $crate::zap::wire::Field>::BYTES_MIN)*;

            fn read(
                reader: &mut $crate::zap::wire::Reader<'_>,
                _field: &'static str,
            ) -> Result<Self, $crate::zap::wire::WireError> {
                Ok(Self {
                    $($field: $crate::zap::wire::Field::read(reader, stringify!($field))?,)*
                })
            }

            fn write(&self, out: &mut Vec<u8>) {
                $($crate::zap::wire::Field::write(&self.$field, out);)*
            }
        }

        impl $crate::zap::wire::Message for $name {
            fn decode(body: &[u8]) -> Result<Self, $crate::zap::wire::WireError> {
                let mut reader = $crate::zap::wire::Reader::new(body);
                $crate::zap::wire::Field::read(&mut reader, "")
            }

            fn encode(&self) -> Vec<u8> {
                let mut out = Vec::new();
                $crate::zap::wire::Field::write(self, &mut out);
                out
            }
        }
    )*};
}

pub(super) use messages;

#[cfg(test)]
mod tests;

//! Fixed-size public values: shared behind a pointer, because they are large and much copied.

use core::fmt;

/// Writes `Name(12ab34cd)`: enough to tell two values apart in a log.
pub(crate) fn debug(name: &str, bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{name}({})", hex::encode(&bytes[..bytes.len().min(4)]))
}

/// Defines a public value of a fixed size, any bytes of which are acceptable.
macro_rules! public_bytes {
    ($($(#[$meta:meta])* $name:ident[$size:expr],)*) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<[u8; $size]>);

        impl $name {
            /// The length in bytes.
            pub const SIZE: usize = $size;

            /// Returns the bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl From<[u8; $size]> for $name {
            fn from(bytes: [u8; $size]) -> Self {
                Self(std::sync::Arc::new(bytes))
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = $crate::InvalidKey;
            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                Ok(Self(std::sync::Arc::new($crate::bytes::sized(stringify!($name), bytes)?)))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self.0.as_slice()
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::bytes::debug(stringify!($name), self.0.as_slice(), f)
            }
        }

        impl session_core::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.0.as_slice());
            }
        }

        impl session_core::Decode for $name {
            fn decode(
                reader: &mut session_core::Reader<'_>,
            ) -> Result<Self, session_core::DecodeError> {
                reader.array().map(Self::from)
            }
        }
    )*};
}
pub(crate) use public_bytes;

/// Defines 32 secret bytes: cleared on drop, never printed, copied or compared.
macro_rules! secret_bytes {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        $(#[$meta])*
        #[derive(zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Returns the secret bytes.
            #[must_use]
            pub const fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}
pub(crate) use secret_bytes;

/// Returns the slice as an array of the size that `field` has.
pub(crate) fn sized<const N: usize>(
    field: &'static str,
    bytes: &[u8],
) -> Result<[u8; N], crate::InvalidKey> {
    bytes.try_into().map_err(|_| crate::InvalidKey::Length { field, got: bytes.len(), expected: N })
}

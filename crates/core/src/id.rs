//! Identifiers: one newtype per meaning, 32 bytes each, in hex or CB58 text.
//!
//! CB58 is base58 over the bytes and the last four bytes of their SHA-256, the text form that the
//! JSON-RPC of the seeds takes. Printing gives hex; parsing takes both.

use core::fmt;
use core::str::FromStr;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::domain::sha256;

/// Why a text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseIdError {
    /// Neither 64 hex digits nor base58.
    #[error("an id is 64 hex digits or CB58 text, got {length} characters that are neither")]
    NotAnId {
        /// Characters in the refused text.
        length: usize,
    },
    /// The base58 text is longer or shorter than 36 bytes.
    #[error("a CB58 id holds 32 bytes and a 4-byte checksum, got {length} bytes")]
    Length {
        /// Decoded bytes.
        length: usize,
    },
    /// The last four bytes are not the checksum of the first 32.
    #[error("the CB58 checksum does not match: the text was altered or cut")]
    Checksum,
}

/// Returns the CB58 text of 32 bytes.
#[must_use]
pub fn to_cb58(bytes: &[u8; 32]) -> String {
    let mut checked = bytes.to_vec();
    checked.extend_from_slice(&sha256(bytes)[28..]);
    bs58::encode(checked).into_string()
}

/// Parses CB58 text of 32 bytes.
///
/// # Errors
/// When the text is not base58, has another length, or its checksum differs.
pub fn from_cb58(text: &str) -> Result<[u8; 32], ParseIdError> {
    // 36 bytes never need more than 50 base58 digits; longer texts would cost quadratic time.
    if text.is_empty() || text.len() > 50 {
        return Err(ParseIdError::NotAnId { length: text.len() });
    }
    let checked =
        bs58::decode(text).into_vec().map_err(|_| ParseIdError::NotAnId { length: text.len() })?;
    let (bytes, checksum) = checked
        .split_first_chunk::<32>()
        .filter(|(_, checksum)| checksum.len() == 4)
        .ok_or(ParseIdError::Length { length: checked.len() })?;
    if sha256(bytes)[28..] != *checksum {
        return Err(ParseIdError::Checksum);
    }
    Ok(*bytes)
}

fn parse(text: &str) -> Result<[u8; 32], ParseIdError> {
    if text.len() == 64 {
        let mut bytes = [0; 32];
        return match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(_) => Err(ParseIdError::NotAnId { length: 64 }),
        };
    }
    from_cb58(text)
}

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Returns the 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Returns the CB58 text.
            #[must_use]
            pub fn to_cb58(&self) -> String {
                to_cb58(&self.0)
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        // Four bytes are enough to tell ids apart in a log and too few to look one up.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self)
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self)
            }
        }
    )*};
}

ids! {
    /// A service node: BLAKE2b-256 over its ML-KEM-768 and ML-DSA-65 public keys.
    NodeId,
    /// A person or bot: the 32 bytes behind the `07` prefix.
    AccountId,
    /// Where items are stored; opaque, derived from an access rule.
    InboxAddress,
    /// A stored item: digest of its address, namespace and bytes.
    MessageId,
    /// A workload session (seed 000).
    SessionId,
    /// An oracle request (seed 000).
    RequestId,
    /// A transaction.
    TxId,
    /// A service that sessions belong to (seed 000).
    ServiceId,
    /// A coordination chain: what every transaction and block is bound to.
    ChainId,
    /// A block of the coordination chain: digest of its bytes.
    BlockId,
    /// A conversation (seed 003 calls it a session).
    ConversationId,
    /// A group channel (seed 003).
    ChannelId,
    /// Any other SHA-256 or BLAKE3 digest.
    Digest,
}

/// A storage swarm: a point on the 64-bit ring on which inboxes are placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwarmId(pub u64);

impl fmt::Display for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Encode for SwarmId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for SwarmId {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(reader).map(Self)
    }
}

/// A period with fixed committees, and a beacon that chooses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Encode for Epoch {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Epoch {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(reader).map(Self)
    }
}

/// A compartment of an inbox with its own rules; which ones exist is the protocol's business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(pub u16);

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Encode for Namespace {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Namespace {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u16::decode(reader).map(Self)
    }
}

#[cfg(test)]
mod tests;

//! What a store answers when it cannot do what it was asked.

use std::io;

/// Why an operation on a store failed.
///
/// Grouped by culprit: the caller ([`StoreError::TooLarge`]), the disk (the rest).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A field is longer than the store takes; nothing was written.
    #[error("{field} is {got} bytes long, the limit is {limit}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its length.
        got: usize,
        /// The longest that is taken.
        limit: usize,
    },
    /// There is no room for new data; reads and deletions go on.
    #[error("the store is full: {needed} bytes needed, {free} free")]
    Full {
        /// Bytes the operation needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Bytes read back are not the bytes that were written; they are not served.
    #[error("{what} in segment {segment} at byte {offset} of shard {shard} is corrupt")]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// The shard.
        shard: u16,
        /// The segment's number.
        segment: u32,
        /// The position in the segment.
        offset: u32,
    },
    /// The operating system failed an operation.
    #[error("{doing} failed: {message}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The operating system's words.
        message: String,
    },
    /// An earlier write failed; the store takes no more of them until it is opened anew.
    #[error("the store is closed to writes since {why}")]
    Closed {
        /// The failure that closed it.
        why: String,
    },
}

impl StoreError {
    pub(crate) fn io(doing: &'static str, error: &io::Error) -> Self {
        Self::Io { doing, kind: error.kind(), message: error.to_string() }
    }
}

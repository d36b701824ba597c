//! Small values to test with.

use session_core::{InboxAddress, MessageId, Namespace, Time};
use session_storage::{NewItem, Options};

pub(crate) const HOUR: u64 = 3_600_000;
pub(crate) const DAY: u64 = 24 * HOUR;
/// Some moment, far from zero.
pub(crate) const NOW: u64 = 1_750_000_000_000;

pub(crate) fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// An inbox; numbers spread over shards.
pub(crate) fn inbox(number: u8) -> InboxAddress {
    InboxAddress::from([number; 32])
}

pub(crate) fn id(number: u64) -> MessageId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    MessageId::from(bytes)
}

/// Bytes that differ from item to item.
pub(crate) fn data(number: u64, size: usize) -> Vec<u8> {
    number.to_be_bytes().into_iter().cycle().take(size).collect()
}

pub(crate) fn item(number: u64, expiry: u64, data: &[u8]) -> NewItem<'_> {
    NewItem {
        namespace: Namespace(0),
        id: id(number),
        timestamp: at(NOW),
        expiry: at(expiry),
        data,
    }
}

/// Segments as small as they can be, so that tests use many.
pub(crate) fn options() -> Options {
    Options { shards: 2, segment_bytes: 1024 * 1024, bytes_max: None }
}

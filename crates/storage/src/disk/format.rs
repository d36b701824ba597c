//! The bytes on disk: segment header, groups, heads and bodies, and the store file.
//!
//! `docs/wire/storage.md` has the tables. All integers are big-endian. Every checksum is a CRC-32
//! that starts from the seed of its segment, so bytes of another segment, shard or store never
//! pass for its own.

use core::mem::size_of;

use crc32fast::Hasher;
use session_core::{Decode, DecodeError, Encode, InboxAddress, MessageId, Namespace, Reader, Time};

use crate::store::{ITEM_BYTES_MAX, KEY_BYTES_MAX, Table, VALUE_BYTES_MAX};

/// The version of everything in this file.
pub(crate) const VERSION: u16 = 1;
/// Bytes of a segment header.
pub(crate) const SEGMENT_HEADER: u32 = 40;
/// Bytes of a group header, and of a seal.
pub(crate) const GROUP_HEADER: u32 = 16;
/// Bytes of the checksum that follows each body.
pub(crate) const BODY_CHECK: u32 = 4;
/// Bytes of the head of an item.
pub(crate) const ITEM_HEAD: u32 = 99;
/// Bytes of the longest head: a record with the longest key.
pub(crate) const HEAD_MAX: usize = 1 + 8 + 1 + 1 + KEY_BYTES_MAX + 6 + 4 + 4 + 4;
/// Bytes of the store file.
pub(crate) const STORE_FILE: usize = 40;

const SEGMENT_MAGIC: [u8; 4] = *b"LXSG";
const STORE_MAGIC: [u8; 8] = *b"LXSTORE\n";
const GROUP_MAGIC: u16 = 0xA71C;
const SEAL_MAGIC: u16 = 0xA75E;
const HEAD_CHECK: usize = 4;

/// Which segments a record goes to: items by how long they have to live, so that segments expire
/// whole; the rest apart, because it must outlive the items it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Items that live for up to an hour.
    Hour = 0,
    /// Items that live for up to a day.
    Day = 1,
    /// Items that live for up to eight days.
    Week = 2,
    /// Items that live longer.
    Long = 3,
    /// Tombstones and changed expiries.
    Control = 4,
    /// The small tables.
    Records = 5,
}

impl Class {
    /// Every class, in order.
    pub(crate) const ALL: [Self; 6] =
        [Self::Hour, Self::Day, Self::Week, Self::Long, Self::Control, Self::Records];

    fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as u8 == tag)
    }

    /// Whether segments of this class hold items.
    pub(crate) fn holds_items(self) -> bool {
        self < Self::Control
    }
}

/// What identifies a segment: the first bytes of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The incarnation of the store it belongs to.
    pub incarnation: u64,
    /// Random bytes of the store that every checksum starts from, unknown to those whose data is
    /// stored, so that none of it can be made to look like a record.
    pub salt: u64,
    /// The shard.
    pub shard: u16,
    /// The class of its records.
    pub class: Class,
    /// Its number: never used twice in a shard.
    pub number: u32,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER as usize] {
        let mut out = Vec::with_capacity(SEGMENT_HEADER as usize);
        out.extend_from_slice(&SEGMENT_MAGIC);
        VERSION.encode(&mut out);
        self.shard.encode(&mut out);
        self.number.encode(&mut out);
        (self.class as u8).encode(&mut out);
        [0u8; 7].encode(&mut out);
        self.incarnation.encode(&mut out);
        self.salt.encode(&mut out);
        crc32fast::hash(&out).encode(&mut out);
        out.try_into().expect("the fields add up to SEGMENT_HEADER")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let covered = bytes.len().saturating_sub(4).min(SEGMENT_HEADER as usize - 4);
        if reader.array::<4>()? != SEGMENT_MAGIC {
            return Err(invalid("segment header", "the magic bytes differ"));
        }
        let version = u16::decode(&mut reader)?;
        let shard = u16::decode(&mut reader)?;
        let number = u32::decode(&mut reader)?;
        let class = u8::decode(&mut reader)?;
        let zero = reader.array::<7>()?;
        let incarnation = u64::decode(&mut reader)?;
        let salt = u64::decode(&mut reader)?;
        if u32::decode(&mut reader)? != crc32fast::hash(&bytes[..covered]) {
            return Err(invalid("segment header", "the checksum differs"));
        }
        if version != VERSION {
            return Err(DecodeError::UnknownTag { field: "segment version", got: version.into() });
        }
        let class = Class::from_tag(class)
            .ok_or(DecodeError::UnknownTag { field: "segment class", got: class.into() })?;
        if zero != [0; 7] {
            return Err(invalid("segment header", "the reserved bytes are not zero"));
        }
        Ok(Self { incarnation, salt, shard, class, number })
    }

    /// Returns the state that every checksum of the segment starts from.
    pub(crate) fn seed(&self) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(&self.salt.to_be_bytes());
        hasher.update(&self.shard.to_be_bytes());
        hasher.update(&self.number.to_be_bytes());
        hasher.finalize()
    }
}

/// What stands before the bytes that one commit added to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupHeader {
    /// Bodies, then heads.
    Group { bodies: u32, heads: u32 },
    /// Nothing follows, and everything before is durable.
    Seal,
}

impl GroupHeader {
    pub(crate) fn encode(self, seed: u32, position: u32) -> [u8; GROUP_HEADER as usize] {
        let mut out = Vec::with_capacity(GROUP_HEADER as usize);
        let (magic, bodies, heads) = match self {
            Self::Group { bodies, heads } => (GROUP_MAGIC, bodies, heads),
            Self::Seal => (SEAL_MAGIC, 0, 0),
        };
        magic.encode(&mut out);
        VERSION.encode(&mut out);
        bodies.encode(&mut out);
        heads.encode(&mut out);
        check(seed, position, &out).encode(&mut out);
        out.try_into().expect("the fields add up to GROUP_HEADER")
    }

    /// Reads a group header that stands at `position`, if it is one.
    pub(crate) fn decode(bytes: &[u8], seed: u32, position: u32) -> Option<Self> {
        let (fields, checksum) = bytes.get(..GROUP_HEADER as usize)?.split_at(12);
        if fields[0] != (GROUP_MAGIC >> 8) as u8
            || checksum != check(seed, position, fields).to_be_bytes()
        {
            return None;
        }
        let mut reader = Reader::new(fields);
        let magic = u16::decode(&mut reader).ok()?;
        let version = u16::decode(&mut reader).ok()?;
        let bodies = u32::decode(&mut reader).ok()?;
        let heads = u32::decode(&mut reader).ok()?;
        match (magic, version) {
            (GROUP_MAGIC, VERSION) => Some(Self::Group { bodies, heads }),
            (SEAL_MAGIC, VERSION) if bodies == 0 && heads == 0 => Some(Self::Seal),
            _ => None,
        }
    }

    /// Whether `byte` can be the first of a group header.
    pub(crate) fn may_start_with(byte: u8) -> bool {
        byte == (GROUP_MAGIC >> 8) as u8
    }
}

/// Where the bytes of an item or record lie in their segment; their checksum follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// The position of the first byte.
    pub offset: u32,
    /// The number of bytes, without the checksum.
    pub size: u32,
}

/// What happened, in a fixed number of bytes; only item data and record values stand elsewhere.
///
/// `number` is the place in the order of all writes of the store. Segments of several classes
/// grow side by side, so reopening sorts by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// An item was stored. `number` is its arrival.
    Item {
        /// The order of the write.
        number: u64,
        /// The inbox.
        address: InboxAddress,
        /// The item's name.
        id: MessageId,
        /// The compartment.
        namespace: Namespace,
        /// When its sender says it was made.
        timestamp: Time,
        /// When it expires.
        expiry: Time,
        /// Where its data is.
        body: Body,
    },
    /// An item was removed, or will be refused, until a time.
    Remove {
        /// The order of the write.
        number: u64,
        /// The inbox.
        address: InboxAddress,
        /// The item's name.
        id: MessageId,
        /// Until when the tombstone is to be known.
        until: Time,
        /// The segment that holds the removed item, or 0: as long as it is there, so must this be.
        segment: u32,
    },
    /// An item expires at another time.
    SetExpiry {
        /// The order of the write.
        number: u64,
        /// The inbox.
        address: InboxAddress,
        /// The item's name.
        id: MessageId,
        /// When it expires now.
        expiry: Time,
        /// The arrival of the item that is meant.
        arrival: u64,
        /// The segment that holds it; a copy in a later one has this change in it already.
        segment: u32,
    },
    /// A record was written.
    Record {
        /// The order of the write.
        number: u64,
        /// The table.
        table: Table,
        /// The key.
        key: Vec<u8>,
        /// When it expires.
        expiry: Time,
        /// Where its value is.
        body: Body,
    },
    /// A record was removed.
    RemoveRecord {
        /// The order of the write.
        number: u64,
        /// The table.
        table: Table,
        /// The key.
        key: Vec<u8>,
    },
}

impl Head {
    /// Returns the place in the order of all writes.
    #[must_use]
    pub const fn number(&self) -> u64 {
        match self {
            Self::Item { number, .. }
            | Self::Remove { number, .. }
            | Self::SetExpiry { number, .. }
            | Self::Record { number, .. }
            | Self::RemoveRecord { number, .. } => *number,
        }
    }

    /// Returns where the bytes are that belong to this head.
    #[must_use]
    pub const fn body(&self) -> Option<Body> {
        match self {
            Self::Item { body, .. } | Self::Record { body, .. } => Some(*body),
            _ => None,
        }
    }

    pub(crate) fn encode(&self, seed: u32, out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            Self::Item { number, address, id, namespace, timestamp, expiry, body } => {
                out.push(1);
                (*number, *address, *id).encode_all(out);
                namespace.encode(out);
                put_time(*timestamp, out);
                put_time(*expiry, out);
                put_body(*body, out);
            }
            Self::Remove { number, address, id, until, segment } => {
                out.push(2);
                (*number, *address, *id).encode_all(out);
                put_time(*until, out);
                segment.encode(out);
            }
            Self::SetExpiry { number, address, id, expiry, arrival, segment } => {
                out.push(3);
                (*number, *address, *id).encode_all(out);
                put_time(*expiry, out);
                arrival.encode(out);
                segment.encode(out);
            }
            Self::Record { number, table, key, expiry, body } => {
                out.push(4);
                number.encode(out);
                put_key(*table, key, out);
                put_time(*expiry, out);
                put_body(*body, out);
            }
            Self::RemoveRecord { number, table, key } => {
                out.push(5);
                number.encode(out);
                put_key(*table, key, out);
            }
        }
        let mut hasher = Hasher::new_with_initial(seed);
        hasher.update(&out[start..]);
        hasher.finalize().encode(out);
    }

    /// Reads the head at the start of `bytes` and returns how many bytes it takes.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(bytes);
        let head = Self::decode_fields(&mut reader)?;
        let covered = bytes.len() - reader.left();
        let mut hasher = Hasher::new_with_initial(seed);
        hasher.update(&bytes[..covered]);
        if u32::decode(&mut reader)? != hasher.finalize() {
            return Err(invalid("record head", "the checksum differs"));
        }
        Ok((head, covered + HEAD_CHECK))
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = u8::decode(reader)?;
        let number = u64::decode(reader)?;
        Ok(match kind {
            1 => Self::Item {
                number,
                address: Decode::decode(reader)?,
                id: Decode::decode(reader)?,
                namespace: Decode::decode(reader)?,
                timestamp: take_time(reader)?,
                expiry: take_time(reader)?,
                body: take_body(reader, "item", ITEM_BYTES_MAX)?,
            },
            2 => Self::Remove {
                number,
                address: Decode::decode(reader)?,
                id: Decode::decode(reader)?,
                until: take_time(reader)?,
                segment: Decode::decode(reader)?,
            },
            3 => Self::SetExpiry {
                number,
                address: Decode::decode(reader)?,
                id: Decode::decode(reader)?,
                expiry: take_time(reader)?,
                arrival: Decode::decode(reader)?,
                segment: Decode::decode(reader)?,
            },
            4 => {
                let (table, key) = take_key(reader)?;
                let expiry = take_time(reader)?;
                let body = take_body(reader, "record value", VALUE_BYTES_MAX)?;
                Self::Record { number, table, key, expiry, body }
            }
            5 => {
                let (table, key) = take_key(reader)?;
                Self::RemoveRecord { number, table, key }
            }
            got => return Err(DecodeError::UnknownTag { field: "record kind", got: got.into() }),
        })
    }
}

/// Returns the checksum of a body that starts at `offset` of its segment.
pub(crate) fn body_check(seed: u32, offset: u32, data: &[u8]) -> u32 {
    check(seed, offset, data)
}

/// What the store file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreFile {
    pub(crate) shards: u16,
    pub(crate) incarnation: u64,
    pub(crate) salt: u64,
    /// Numbers below this one may have been used.
    pub(crate) floor: u64,
}

impl StoreFile {
    pub(crate) fn encode(&self) -> [u8; STORE_FILE] {
        let mut out = Vec::with_capacity(STORE_FILE);
        out.extend_from_slice(&STORE_MAGIC);
        VERSION.encode(&mut out);
        self.shards.encode(&mut out);
        self.incarnation.encode(&mut out);
        self.salt.encode(&mut out);
        self.floor.encode(&mut out);
        crc32fast::hash(&out).encode(&mut out);
        out.try_into().expect("the fields add up to STORE_FILE")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let covered = bytes.len().saturating_sub(4).min(STORE_FILE - 4);
        if reader.array::<8>()? != STORE_MAGIC {
            return Err(invalid("store file", "the magic bytes differ"));
        }
        let version = u16::decode(&mut reader)?;
        let shards = u16::decode(&mut reader)?;
        let incarnation = u64::decode(&mut reader)?;
        let salt = u64::decode(&mut reader)?;
        let floor = u64::decode(&mut reader)?;
        if u32::decode(&mut reader)? != crc32fast::hash(&bytes[..covered]) {
            return Err(invalid("store file", "the checksum differs"));
        }
        reader.finish()?;
        if version != VERSION {
            return Err(DecodeError::UnknownTag { field: "store version", got: version.into() });
        }
        if shards == 0 {
            return Err(invalid("store file", "it has no shards"));
        }
        Ok(Self { shards, incarnation, salt, floor })
    }
}

fn check(seed: u32, position: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(&position.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

const fn invalid(field: &'static str, why: &'static str) -> DecodeError {
    DecodeError::Invalid { field, why }
}

trait EncodeAll {
    fn encode_all(&self, out: &mut Vec<u8>);
}

impl EncodeAll for (u64, InboxAddress, MessageId) {
    fn encode_all(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
        self.2.encode(out);
    }
}

/// Writes the low 48 bits; the engines clamp times to [`crate::store::TIME_MAX`] first.
fn put_time(time: Time, out: &mut Vec<u8>) {
    out.extend_from_slice(&time.as_millis().to_be_bytes()[size_of::<u64>() - 6..]);
}

fn take_time(reader: &mut Reader<'_>) -> Result<Time, DecodeError> {
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&reader.array::<6>()?);
    Ok(Time::from_millis(u64::from_be_bytes(bytes)))
}

fn put_body(body: Body, out: &mut Vec<u8>) {
    body.offset.encode(out);
    body.size.encode(out);
}

fn take_body(
    reader: &mut Reader<'_>,
    field: &'static str,
    limit: usize,
) -> Result<Body, DecodeError> {
    let offset = u32::decode(reader)?;
    let size = reader.length(field, limit)?;
    Ok(Body { offset, size: u32::try_from(size).expect("limits are far below 4 GiB") })
}

fn put_key(table: Table, key: &[u8], out: &mut Vec<u8>) {
    out.push(table as u8);
    out.push(u8::try_from(key.len()).expect("KEY_BYTES_MAX fits a byte"));
    out.extend_from_slice(key);
}

fn take_key(reader: &mut Reader<'_>) -> Result<(Table, Vec<u8>), DecodeError> {
    let tag = u8::decode(reader)?;
    let table =
        Table::from_tag(tag).ok_or(DecodeError::UnknownTag { field: "table", got: tag.into() })?;
    let length = usize::from(u8::decode(reader)?);
    if length > KEY_BYTES_MAX {
        return Err(DecodeError::OverLimit {
            field: "record key",
            got: length,
            limit: KEY_BYTES_MAX,
        });
    }
    Ok((table, reader.take(length)?.to_vec()))
}

#[cfg(test)]
mod tests;

use session_core::{InboxAddress, MessageId, Namespace, Time};

use super::*;

const SEED: u32 = 0x1234_5678;

fn address() -> InboxAddress {
    InboxAddress::from([0xA1; 32])
}

fn id() -> MessageId {
    MessageId::from([0xB2; 32])
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| line.bytes().filter(u8::is_ascii_hexdigit))
        .collect();
    digits
        .chunks(2)
        .map(|pair| {
            let text = core::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(text, 16).expect("hex digits")
        })
        .collect()
}

/// Every kind of record and its bytes, without the checksum.
fn golden() -> Vec<(Head, Vec<u8>)> {
    let (a, b) = ("a1".repeat(32), "b2".repeat(32));
    let key = b"peer".to_vec();
    let body = Body { offset: 56, size: 2048 };
    let time = Time::from_millis;
    vec![
        (
            Head::Item {
                number: 7,
                address: address(),
                id: id(),
                namespace: Namespace(258),
                timestamp: time(1_750_000_000_000),
                expiry: time(1_750_000_060_000),
                body,
            },
            hex(&format!(
                "01                // kind
                 0000000000000007  // number
                 {a}               // address
                 {b}               // id
                 0102              // namespace
                 01977420dc00      // timestamp
                 01977421c660      // expiry
                 00000038          // offset of the data
                 00000800          // size of the data"
            )),
        ),
        (
            Head::Remove {
                number: 8,
                address: address(),
                id: id(),
                until: time(1 << 40),
                segment: 9,
            },
            hex(&format!(
                "02                // kind
                 0000000000000008  // number
                 {a}               // address
                 {b}               // id
                 010000000000      // until
                 00000009          // segment"
            )),
        ),
        (
            Head::SetExpiry {
                number: 9,
                address: address(),
                id: id(),
                expiry: time(1 << 41),
                arrival: 7,
                segment: 10,
            },
            hex(&format!(
                "03                // kind
                 0000000000000009  // number
                 {a}               // address
                 {b}               // id
                 020000000000      // expiry
                 0000000000000007  // arrival
                 0000000a          // segment"
            )),
        ),
        (
            Head::Record {
                number: 10,
                table: Table::Peer,
                key: key.clone(),
                expiry: time(1),
                body,
            },
            hex("04                // kind
                 000000000000000a  // number
                 03                // table
                 04 70656572       // key
                 000000000001      // expiry
                 00000038          // offset of the value
                 00000800          // size of the value"),
        ),
        (
            Head::RemoveRecord { number: 11, table: Table::Meta, key },
            hex("05                // kind
                 000000000000000b  // number
                 04                // table
                 04 70656572       // key"),
        ),
    ]
}

fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut hasher = Hasher::new_with_initial(SEED);
    hasher.update(&bytes);
    bytes.extend_from_slice(&hasher.finalize().to_be_bytes());
    bytes
}

#[test]
fn heads_have_their_golden_bytes() {
    for (head, fields) in golden() {
        let bytes = checked(fields);
        let mut encoded = Vec::new();
        head.encode(SEED, &mut encoded);
        assert_eq!(encoded, bytes, "{head:?}");
        // What follows is the next head's.
        encoded.push(0xFF);
        assert_eq!(Head::decode(&encoded, SEED), Ok((head, bytes.len())));
        assert!(bytes.len() <= HEAD_MAX);
    }
}

#[test]
fn an_item_costs_at_most_119_bytes_beyond_its_data() {
    let (_, item) = golden().remove(0);
    assert_eq!(item.len() + HEAD_CHECK, ITEM_HEAD as usize);
    assert_eq!(ITEM_HEAD + BODY_CHECK + GROUP_HEADER, 119);
}

#[test]
fn truncated_heads_and_flipped_bits_are_refused() {
    for (head, fields) in golden() {
        let bytes = checked(fields);
        for length in 0..bytes.len() {
            let refused = Head::decode(&bytes[..length], SEED);
            assert!(
                matches!(refused, Err(DecodeError::TooShort { .. })),
                "{head:?} cut to {length}: {refused:?}"
            );
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x80;
            assert!(Head::decode(&flipped, SEED).is_err(), "{head:?} flipped at {at}");
        }
        assert!(Head::decode(&bytes, SEED + 1).is_err(), "another segment's seed");
    }
}

#[test]
fn fields_over_their_limits_are_refused_by_name() {
    let refused = |fields: Vec<u8>| Head::decode(&checked(fields), SEED).map(|_| ());
    let records = golden();
    let mut item = records[0].1.clone();
    let size = item.len() - 4;
    item[size..].copy_from_slice(&131_073_u32.to_be_bytes());
    let limit = DecodeError::OverLimit { field: "item", got: 131_073, limit: 131_072 };
    assert_eq!(refused(item), Err(limit));

    let mut record = records[3].1.clone();
    let size = record.len() - 4;
    record[size..].copy_from_slice(&65_537_u32.to_be_bytes());
    let limit = DecodeError::OverLimit { field: "record value", got: 65_537, limit: 65_536 };
    assert_eq!(refused(record), Err(limit));

    let mut key = records[4].1.clone();
    key[10] = 129;
    let limit = DecodeError::OverLimit { field: "record key", got: 129, limit: 128 };
    assert_eq!(refused(key), Err(limit));

    let mut table = records[4].1.clone();
    table[9] = 0xee; // there will never be so many
    assert_eq!(refused(table), Err(DecodeError::UnknownTag { field: "table", got: 0xee }));
    let unknown = vec![6; 90];
    assert_eq!(refused(unknown), Err(DecodeError::UnknownTag { field: "record kind", got: 6 }));
}

#[test]
fn the_segment_header_has_its_golden_bytes() {
    let header = SegmentHeader {
        incarnation: 0x0102_0304_0506_0708,
        salt: 0x1112_1314_1516_1718,
        shard: 3,
        class: Class::Week,
        number: 77,
    };
    let mut bytes = hex("4c585347          // magic LXSG
         0001              // version
         0003              // shard
         0000004d          // number
         02                // class
         00000000000000    // reserved
         0102030405060708  // incarnation
         1112131415161718  // salt");
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    assert_eq!(header.encode().to_vec(), bytes);
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
    for length in 0..bytes.len() {
        assert!(SegmentHeader::decode(&bytes[..length]).is_err(), "cut to {length}");
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(SegmentHeader::decode(&flipped).is_err(), "flipped at {at}");
    }
}

#[test]
fn group_headers_have_their_golden_bytes() {
    let cases = [
        (
            GroupHeader::Group { bodies: 2052, heads: 99 },
            "a71c      // magic of a group
             0001      // version
             00000804  // bytes of bodies
             00000063  // bytes of heads",
        ),
        (
            GroupHeader::Seal,
            "a75e      // magic of a seal
             0001      // version
             00000000
             00000000",
        ),
    ];
    for (header, fields) in cases {
        let mut bytes = hex(fields);
        let mut hasher = Hasher::new_with_initial(SEED);
        hasher.update(&40_u32.to_be_bytes());
        hasher.update(&bytes);
        bytes.extend_from_slice(&hasher.finalize().to_be_bytes());
        assert_eq!(header.encode(SEED, 40).to_vec(), bytes);
        assert_eq!(GroupHeader::decode(&bytes, SEED, 40), Some(header));
        assert_eq!(GroupHeader::decode(&bytes, SEED, 41), None, "another position");
        for length in 0..bytes.len() {
            assert_eq!(GroupHeader::decode(&bytes[..length], SEED, 40), None);
        }
    }
}

#[test]
fn the_store_file_has_its_golden_bytes() {
    let file = StoreFile { shards: 4, incarnation: 5, salt: 6, floor: 1 << 28 };
    let mut bytes = hex("4c5853544f52450a  // magic LXSTORE and a line feed
         0001              // version
         0004              // shards
         0000000000000005  // incarnation
         0000000000000006  // salt
         0000000010000000  // floor");
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    assert_eq!(file.encode().to_vec(), bytes);
    assert_eq!(StoreFile::decode(&bytes), Ok(file));
    for length in 0..bytes.len() {
        assert!(StoreFile::decode(&bytes[..length]).is_err(), "cut to {length}");
    }
    bytes.push(0);
    assert_eq!(StoreFile::decode(&bytes), Err(DecodeError::Trailing { left: 1 }));
}

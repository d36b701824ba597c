//! Golden bytes of what clients ask.

use session_core::{Blob, Namespace, Span};
use session_protocol::AccessRule;
use session_protocol::inbox::Capability;
use session_protocol::limits::{IDS_MAX, ITEM_BYTES_MAX, OPERATIONS_MAX};
use session_protocol::puzzle::Solution;
use session_protocol::request::{Cursor, Operation, Request, Select};

use crate::codec::{check, limit, tags};
use crate::values::{OPERATION, address, blob, list, message, node, operation, time};

#[test]
fn cursor() {
    check(
        &Cursor { incarnation: 1, arrival: 2 },
        "0000000000000001 # incarnation
         0000000000000002 # arrival",
    );
}

#[test]
fn select() {
    check(
        &Select::After { cursor: Cursor { incarnation: 1, arrival: 2 } },
        "01 0000000000000001 0000000000000002",
    );
    check(&Select::Ids { ids: list([message(); 2]) }, "02 00000002 0c*64");
    check(&Select::Ids { ids: list([]) }, "02 00000000");
    limit::<Select>("02", IDS_MAX);
    tags::<Select>("", 2);
}

#[test]
fn operations() {
    let store = Operation::Store {
        address: address(),
        namespace: Namespace(2),
        timestamp: time(3),
        ttl: Span::from_millis(4),
        data: blob(b"sealed"),
    };
    check(
        &store,
        "01
         0b*32                # address
         0002                 # namespace
         0000000000000003     # timestamp
         0000000000000004     # ttl
         00000006 7365616c6564 # data",
    );
    limit::<Operation>("01 0b*32 0002 0000000000000003 0000000000000004", ITEM_BYTES_MAX);

    check(&Operation::Owner { operation: Box::new(operation()) }, &format!("02 {OPERATION}"));

    let public = Operation::RetrievePublic {
        address: address(),
        namespace: Namespace(1),
        select: Select::After { cursor: Cursor::default() },
        bytes_max: 9,
    };
    check(
        &public,
        "03
         0b*32    # address
         0001     # namespace
         01 00*16 # after a cursor
         00000009 # at most so many bytes",
    );
    check(&Operation::GetSwarm { address: address() }, "04 0b*32");
    check(&Operation::Info, "05");
    check(&Operation::Unsubscribe { address: address() }, "06 0b*32");
    let deposit = Operation::Deposit {
        rule: AccessRule::Mailbox {
            reader: [0x21; 32].into(),
            writer: [0x22; 32].into(),
            eraser: [0x23; 32].into(),
        },
        token: Capability::new([0x24; 32]),
        namespace: Namespace(4),
        timestamp: time(3),
        ttl: Span::from_millis(4),
        data: blob(b"sealed"),
    };
    check(
        &deposit,
        "07
         02 21*32 22*32 23*32 # rule: mailbox of reader, writer, eraser
         24*32                # token
         0004                 # namespace
         0000000000000003     # timestamp
         0000000000000004     # ttl
         00000006 7365616c6564 # data",
    );
    limit::<Operation>("07 02 21*96 24*32 0004 00*16", ITEM_BYTES_MAX);
    let keys = Operation::HopKeys { bits: 4, bucket: 0x0b, after: None, bytes_max: 9 };
    check(&keys, "08 04 000b 00 00000009");
    let keys = Operation::HopKeys { bits: 16, bucket: 0xffff, after: Some(node()), bytes_max: 9 };
    check(
        &keys,
        "08
         10       # bits
         ffff     # bucket
         01 0a*32 # after a node
         00000009 # at most so many bytes",
    );
    let introduce = Operation::Introduce {
        rule: AccessRule::Mailbox {
            reader: [0x21; 32].into(),
            writer: [0x22; 32].into(),
            eraser: [0x23; 32].into(),
        },
        token: Capability::new([0x24; 32]),
        solution: Solution { window: 5, nonce: 6 },
        timestamp: time(3),
        ttl: Span::from_millis(4),
        data: blob(b"sealed"),
    };
    check(
        &introduce,
        "09
         02 21*32 22*32 23*32 # rule: mailbox of reader, writer, eraser
         24*32                # token
         0000000000000005     # window
         0000000000000006     # nonce
         0000000000000003     # timestamp
         0000000000000004     # ttl
         00000006 7365616c6564 # data",
    );
    tags::<Operation>("", 9);
}

#[test]
fn requests() {
    check(
        &Request { id: 7, operations: list([Operation::Info, Operation::Info]) },
        "0000000000000007 # id
         00000002 05 05   # operations",
    );
    check(&Request { id: 7, operations: list([]) }, "0000000000000007 00000000");
    limit::<Request>("0000000000000007", OPERATIONS_MAX);
    assert_eq!(OPERATIONS_MAX, 20);
}

#[test]
fn the_longest_item_is_taken_and_one_byte_more_is_not() {
    let longest: Blob<ITEM_BYTES_MAX> = blob(&[1; ITEM_BYTES_MAX]);
    let store = |data| Operation::Store {
        address: address(),
        namespace: Namespace(0),
        timestamp: time(1),
        ttl: Span::from_secs(10),
        data,
    };
    let bytes = session_core::Encode::to_bytes(&store(longest.clone()));
    assert_eq!(<Operation as session_core::Decode>::decode_exact(&bytes), Ok(store(longest)));
    assert!(Blob::<ITEM_BYTES_MAX>::new(vec![1; ITEM_BYTES_MAX + 1]).is_err());
}

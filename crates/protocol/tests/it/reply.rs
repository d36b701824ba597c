//! Golden bytes of what nodes answer.

use session_core::{Namespace, Span, SwarmId};
use session_protocol::limits::{
    IDS_MAX, ITEM_BYTES_MAX, OPERATIONS_MAX, PAGE_ITEMS_MAX, SWARM_MEMBERS_MAX,
};
use session_protocol::membership::ADDRESS_BYTES_MAX;
use session_protocol::receipt::ReceiptPath;
use session_protocol::request::{
    Cursor, Expiring, Info, Item, Outcome, Push, ROOTS_MAX, Refusal, Reply,
};

use crate::codec::{check, flag, limit, tags};
use crate::values::{address, blob, list, member, message, node, proof, signed_root, text, time};

const ITEM: &str = "
    0c*32                 # id
    0002                  # namespace
    0000000000000003      # timestamp
    0000000000000004      # expiry
    0000000000000005      # arrival
    00000006 7365616c6564 # data
";

fn item() -> Item {
    Item {
        id: message(),
        namespace: Namespace(2),
        timestamp: time(3),
        expiry: time(4),
        arrival: 5,
        data: blob(b"sealed"),
    }
}

#[test]
fn items() {
    check(&item(), ITEM);
    limit::<Item>("0c*32 0002 00*24", ITEM_BYTES_MAX);
    check(
        &Push { address: address(), incarnation: 9, item: item() },
        &format!("0b*32 0000000000000009 {ITEM}"),
    );
    limit::<Push>("0b*32 00*8 0c*32 0002 00*24", ITEM_BYTES_MAX);
}

#[test]
fn replies() {
    let reply = Reply {
        id: 1,
        server_time: time(2),
        roots: list([signed_root()]),
        outcomes: list([Outcome::Unsubscribed]),
    };
    check(
        &reply,
        "0000000000000001            # id
         0000000000000002            # server time
         00000001 0a*32 66*32 33*3309 # roots
         00000001 08                 # outcomes",
    );
    limit::<Reply>("00*16", ROOTS_MAX);
    limit::<Reply>("00*16 00000000", OPERATIONS_MAX);
    assert_eq!(ROOTS_MAX, 128);
}

#[test]
fn stored() {
    let receipt = ReceiptPath { root: 7, expiry: time(8), stored_at: time(9), proof: proof() };
    let stored = Outcome::Stored {
        message: message(),
        expiry: time(1),
        duplicate: true,
        receipts: list([receipt]),
    };
    check(
        &stored,
        "01
         0c*32                             # message
         0000000000000001                  # expiry
         01                                # duplicate
         00000001                          # receipts
         0007                              # root
         0000000000000008 0000000000000009 # expiry, stored at
         0000000000000001 0000000000000002 # index, leaves
         00000001 55*32                    # siblings",
    );
    flag::<Outcome>("01 0c*32 00*8");
    limit::<Outcome>("01 0c*32 00*8 00", SWARM_MEMBERS_MAX);
    limit::<Outcome>("01 0c*32 00*8 00 00000001 0007 00*16 00*16", 64);
}

#[test]
fn pages() {
    let page = Outcome::Items {
        items: list([item()]),
        cursor: Cursor { incarnation: 1, arrival: 2 },
        more: false,
    };
    check(&page, &format!("02 00000001 {ITEM} 0000000000000001 0000000000000002 00"));
    limit::<Outcome>("02", PAGE_ITEMS_MAX);
    flag::<Outcome>("02 00000000 00*16");
}

#[test]
fn answers_to_the_owner() {
    check(&Outcome::Deleted { ids: list([message()]), nodes: 7 }, "03 00000001 0c*32 0007");
    limit::<Outcome>("03", IDS_MAX);
    let expiring = Expiring { id: message(), expiry: time(1) };
    check(&expiring, "0c*32 0000000000000001");
    check(
        &Outcome::Expiring { expiries: list([expiring]), nodes: 7 },
        "04 00000001 0c*32 0000000000000001 0007",
    );
    limit::<Outcome>("04", IDS_MAX);
    check(
        &Outcome::Subscribed { cursor: Cursor { incarnation: 1, arrival: 2 } },
        "07 0000000000000001 0000000000000002",
    );
    check(&Outcome::Unsubscribed, "08");
}

#[test]
fn swarms() {
    check(
        &Outcome::Swarm { swarm: SwarmId(1), members: list([member()]) },
        "05 0000000000000001 # swarm
         00000001            # members
         0a*32               # node
         00000003 683a31     # address",
    );
    limit::<Outcome>("05 00*8", SWARM_MEMBERS_MAX);
    limit::<Outcome>("05 00*8 00000001 0a*32", ADDRESS_BYTES_MAX);
}

#[test]
fn info() {
    let info = Info {
        node: node(),
        network: [0x77; 32].into(),
        swarm: SwarmId(1),
        version: text("0.1.0"),
        time: time(2),
        items: 3,
        members_up: 4,
        members: 5,
    };
    let golden = "
        0a*32               # node
        77*32               # network
        0000000000000001    # swarm
        00000005 302e312e30 # version
        0000000000000002    # time
        0000000000000003    # items
        0004 0005           # members up, members
    ";
    check(&info, golden);
    limit::<Info>("0a*32 77*32 00*8", 64);
    check(&Outcome::Info { info }, &format!("06 {golden}"));
}

#[test]
fn outcome_tags() {
    check(&Outcome::Refused { refusal: Refusal::DiskFull }, "09 0c");
    tags::<Outcome>("", 10);
    tags::<Outcome>("09", 21);
}

/// Every refusal: value, stable name, golden bytes. The codes are the first bytes.
fn refusals() -> Vec<(Refusal, &'static str, &'static str)> {
    let ms = Span::from_millis;
    vec![
        (
            Refusal::BadRequest { field: text("ttl"), why: text("no") },
            "bad_request",
            "01 00000003 74746c 00000002 6e6f",
        ),
        (Refusal::BadSignature { why: text("no") }, "bad_signature", "02 00000002 6e6f"),
        (
            Refusal::Clock { signed: time(1), server_time: time(2), tolerance: ms(3) },
            "clock",
            "03 0000000000000001 0000000000000002 0000000000000003",
        ),
        (
            Refusal::WrongSwarm { swarm: SwarmId(1), members: list([member()]) },
            "wrong_swarm",
            "04 0000000000000001 00000001 0a*32 00000003 683a31",
        ),
        (
            Refusal::TooLarge { field: text("data"), got: 2, limit: 1 },
            "too_large",
            "05 00000004 64617461 0000000000000002 0000000000000001",
        ),
        (Refusal::RateLimited { retry_after: ms(1) }, "rate_limited", "06 0000000000000001"),
        (Refusal::NotReady { why: text("no") }, "not_ready", "07 00000002 6e6f"),
        (Refusal::SignatureReused, "signature_reused", "08"),
        (Refusal::UnknownKeys, "unknown_keys", "09"),
        (Refusal::UnknownNamespace { namespace: Namespace(9) }, "unknown_namespace", "0a 0009"),
        (
            Refusal::TtlOutOfRange { got: ms(1), min: ms(2), max: ms(3) },
            "ttl_out_of_range",
            "0b 0000000000000001 0000000000000002 0000000000000003",
        ),
        (Refusal::DiskFull, "disk_full", "0c"),
        (
            Refusal::NotEnoughReplicas { stored: 6, needed: 7 },
            "not_enough_replicas",
            "0d 0006 0007",
        ),
        (Refusal::WrongNode { audience: node() }, "wrong_node", "0e 0a*32"),
        (Refusal::Unauthorized { namespace: Namespace(0) }, "unauthorized", "0f 0000"),
        (Refusal::Deleted, "deleted", "10"),
        (
            Refusal::InboxFull { field: text("items"), limit: 1 },
            "inbox_full",
            "11 00000005 6974656d73 0000000000000001",
        ),
        (Refusal::Internal { why: text("no") }, "internal", "12 00000002 6e6f"),
        (Refusal::SlotTaken { holder: message() }, "slot_taken", "13 0c*32"),
        (Refusal::BadCapability, "bad_capability", "14"),
        (
            Refusal::PuzzleNeeded { bits: 4, window: Span::from_millis(5) },
            "puzzle_needed",
            "15 04 0000000000000005",
        ),
    ]
}

#[test]
fn refusal_codes_and_names_are_stable() {
    let table = refusals();
    for (place, (refusal, name, golden)) in table.iter().enumerate() {
        check(refusal, golden);
        assert_eq!(usize::from(refusal.code()), place + 1, "{refusal:?}");
        assert_eq!(refusal.name(), *name);
        assert!(!refusal.to_string().is_empty());
    }
    let names: std::collections::BTreeSet<_> = table.iter().map(|(_, name, _)| name).collect();
    assert_eq!(names.len(), table.len(), "two refusals share a name");
    // The table above has every code that decodes.
    tags::<Refusal>("", u8::try_from(table.len()).expect("a handful"));
}

#[test]
fn refusal_limits() {
    for (prefix, bound) in [
        ("01", 64),
        ("01 00000000", 256),
        ("02", 256),
        ("04 00*8", SWARM_MEMBERS_MAX),
        ("05", 64),
        ("07", 256),
        ("11", 64),
        ("12", 256),
    ] {
        limit::<Refusal>(prefix, bound);
    }
}

#[test]
fn long_texts_are_cut_between_characters() {
    let long = "ä".repeat(200); // 400 bytes
    let Refusal::BadRequest { field, why } = Refusal::bad_request(&long, &format!("x{long}"))
    else {
        panic!("another refusal");
    };
    assert_eq!((&*field, &*why), (&long[..64], &*format!("x{}", &long[..254])));
    assert_eq!(Refusal::internal("disk"), Refusal::Internal { why: text("disk") });
    assert_eq!(Refusal::not_ready("start"), Refusal::NotReady { why: text("start") });
    let large = Refusal::TooLarge { field: text("data"), got: 2, limit: 1 };
    assert_eq!(Refusal::too_large("data", 2, 1), large);
}

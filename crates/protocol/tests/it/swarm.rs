//! Golden bytes of what the members of a swarm say to each other.

use session_protocol::limits::{
    ITEM_BYTES_MAX, REPLICA_ITEMS_MAX, SYNC_KEYS_MAX, SYNC_ROUND_BYTES_MAX,
};
use session_protocol::peer::{
    Element, ItemKey, Operations, Receipts, ReplicaItem, ReplicaOutcome, Replicate, RingRange, Sync,
};

use crate::codec::{check, flag, limit, tags};
use crate::values::{
    OPERATION, address, blob, list, message, operation, proof, replica, signed_root, time,
};

const REPLICA: &str = "
    0b*32                 # address
    0002                  # namespace
    0000000000000003      # timestamp
    0000000000000004      # expiry
    00000006 7365616c6564 # data
";

#[test]
fn replication() {
    check(&replica(), REPLICA);
    limit::<ReplicaItem>("0b*32 0002 00*16", ITEM_BYTES_MAX);
    check(
        &Replicate { id: 1, items: list([replica()]) },
        &format!("0000000000000001 00000001 {REPLICA}"),
    );
    limit::<Replicate>("00*8", REPLICA_ITEMS_MAX);
    check(&ItemKey { address: address(), message: message() }, "0b*32 0c*32");
}

#[test]
fn receipts() {
    check(
        &Receipts { id: 1, root: None, outcomes: list([ReplicaOutcome::Deleted]) },
        "0000000000000001 00 00000001 03",
    );
    check(
        &Receipts { id: 1, root: Some(signed_root()), outcomes: list([]) },
        "0000000000000001 01 0a*32 66*32 33*3309 00000000",
    );
    flag::<Receipts>("00*8");
    limit::<Receipts>("00*8 00", REPLICA_ITEMS_MAX);
}

#[test]
fn outcomes() {
    check(
        &ReplicaOutcome::Stored { expiry: time(1), stored_at: time(2), proof: proof() },
        "01
         0000000000000001 0000000000000002 # expiry, stored at
         0000000000000001 0000000000000002 # index, leaves
         00000001 55*32                    # siblings",
    );
    limit::<ReplicaOutcome>("01 00*16 00*16", 64);
    check(&ReplicaOutcome::Applied, "02");
    check(&ReplicaOutcome::Deleted, "03");
    check(&ReplicaOutcome::Refused { code: 12 }, "04 0c");
    check(&ReplicaOutcome::SlotTaken { holder: message() }, "05 0c*32");
    tags::<ReplicaOutcome>("", 5);
}

#[test]
fn operations() {
    check(
        &Operations { id: 1, operations: list([operation()]) },
        &format!("0000000000000001 00000001 {OPERATION}"),
    );
    limit::<Operations>("00*8", 64);
}

#[test]
fn elements() {
    check(&Element::Item { item: replica() }, &format!("01 {REPLICA}"));
    check(&Element::Operation { operation: Box::new(operation()) }, &format!("02 {OPERATION}"));
    limit::<Element>("01 0b*32 0002 00*16", ITEM_BYTES_MAX);
    tags::<Element>("", 2);
}

#[test]
fn reconciliation() {
    let open = Sync::Open {
        session: 1,
        bucket: 2,
        nonce: [0x77; 32],
        fingerprint: [0x78; 32].into(),
        count: 3,
        range: RingRange { first: 4, last: 5 },
        since: 6,
    };
    check(
        &open,
        "01
         0000000000000001 # session
         02               # bucket
         77*32            # nonce
         78*32            # fingerprint
         0000000000000003 # count
         0000000000000004 # first place of the range
         0000000000000005 # last place
         0000000000000006 # since",
    );
    check(&Sync::Same { session: 1, whole: true }, "02 0000000000000001 01");
    flag::<Sync>("02 00*8");
    check(
        &Sync::Differs { session: 1, nonce: [0x77; 32], whole: false },
        "03 0000000000000001 77*32 00",
    );
    flag::<Sync>("03 00*8 00*32");
    check(
        &Sync::Round { session: 1, message: blob(&[0x61, 0]) },
        "04 0000000000000001 00000002 6100",
    );
    limit::<Sync>("04 00*8", SYNC_ROUND_BYTES_MAX);
    check(
        &Sync::Want { session: 1, keys: list([[0x77; 32], [0x78; 32]]) },
        "05 0000000000000001 00000002 77*32 78*32",
    );
    limit::<Sync>("05 00*8", SYNC_KEYS_MAX);
    let give =
        Sync::Give { session: 1, elements: list([Element::Item { item: replica() }]), last: true };
    check(&give, &format!("06 0000000000000001 00000001 01 {REPLICA} 01"));
    limit::<Sync>("06 00*8", REPLICA_ITEMS_MAX);
    flag::<Sync>("06 00*8 00000000");
    check(&Sync::Stop { session: 1 }, "07 0000000000000001");
    tags::<Sync>("", 7);
}

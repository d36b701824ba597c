//! The longest messages of every kind that has a bound of its own fit into a frame.

use session_core::{Encode, Namespace};
use session_protocol::limits::{
    FRAME_BYTES_MAX, IDS_MAX, ITEM_BYTES_MAX, PAGE_BYTES_MAX, PAGE_ITEMS_MAX, REPLICA_BYTES_TARGET,
    REPLICA_ITEMS_MAX, SYNC_KEYS_MAX, SYNC_ROUND_BYTES_MAX,
};
use session_protocol::owner::{ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::peer::{Operations, Receipts, ReplicaItem, ReplicaOutcome, Replicate, Sync};
use session_protocol::request::{Cursor, Item, Outcome, Reply};
use session_protocol::{Frame, Kind};

use crate::values::{blob, list, message, operation, replica, signed_root, time};

#[track_caller]
fn fits(kind: Kind, message: &impl Encode) {
    let size = Frame::encode(kind, message).len();
    assert!(size <= FRAME_BYTES_MAX, "{kind:?} of {size} bytes");
}

#[test]
fn a_batch_of_the_longest_operations() {
    let longest = OwnerOperation {
        action: OwnerAction::Expire {
            ids: list(vec![message(); IDS_MAX]),
            expiry: time(1),
            mode: ExpireMode::Extend,
        },
        ..operation()
    };
    fits(Kind::Operations, &Operations { id: 1, operations: list(vec![longest; 64]) });
}

/// The sender closes a message once it is over the target, at one item of the longest kind.
#[test]
fn a_replication_that_ends_with_the_longest_item() {
    let empty = ReplicaItem { data: blob(b""), ..replica() };
    let mut items = vec![empty; REPLICA_ITEMS_MAX];
    let mut left = REPLICA_BYTES_TARGET - 1 + ITEM_BYTES_MAX;
    for item in &mut items {
        let size = left.min(ITEM_BYTES_MAX);
        item.data = blob(&vec![1; size]);
        left -= size;
    }
    assert_eq!(left, 0);
    fits(Kind::Replicate, &Replicate { id: 1, items: list(items) });
}

#[test]
fn receipts_for_a_full_replication() {
    let proof = session_core::merkle::Proof {
        index: 1,
        count: u64::MAX,
        siblings: list(vec![[1; 32].into(); 64]),
    };
    let stored = ReplicaOutcome::Stored { expiry: time(1), stored_at: time(1), proof };
    let receipts = Receipts {
        id: 1,
        root: Some(signed_root()),
        outcomes: list(vec![stored; REPLICA_ITEMS_MAX]),
    };
    fits(Kind::Receipt, &receipts);
}

#[test]
fn the_longest_steps_of_a_reconciliation() {
    let message = blob(&[1; SYNC_ROUND_BYTES_MAX]);
    fits(Kind::Sync, &Sync::Round { session: 1, message });
    fits(Kind::Sync, &Sync::Want { session: 1, keys: list(vec![[1; 32]; SYNC_KEYS_MAX]) });
}

/// One page at both of its bounds.
#[test]
fn the_longest_page() {
    let item = |size| Item {
        id: message(),
        namespace: Namespace(0),
        timestamp: time(1),
        expiry: time(1),
        arrival: 1,
        data: blob(&vec![1; size]),
    };
    let sizes = PAGE_BYTES_MAX / PAGE_ITEMS_MAX;
    let page = Outcome::Items {
        items: list(vec![item(sizes); PAGE_ITEMS_MAX]),
        cursor: Cursor::default(),
        more: true,
    };
    let reply = Reply { id: 1, server_time: time(1), roots: list([]), outcomes: list([page]) };
    fits(Kind::Reply, &reply);
}

//! Which lists of nodes are networks.

use session_core::SwarmId;
use session_crypto::fake::FakeIdentity;
use session_crypto::{DsaPublicKey, PublicIdentity, Signer};
use session_protocol::limits::SWARM_MEMBERS_MAX;
use session_protocol::membership::{
    ADDRESS_BYTES_MAX, BadMembership, Member, Membership, NodeRecord, StaticMembership, network_id,
};

use crate::codec::{check, limit};
use crate::values::{keys, member, text};

fn record(number: u8, swarm: u64) -> NodeRecord {
    let keys = FakeIdentity::new(&[number; 32]).public().clone();
    NodeRecord { keys, address: text(&format!("127.0.0.1:{number}")), swarm: SwarmId(swarm) }
}

fn refused(records: impl IntoIterator<Item = NodeRecord>) -> BadMembership {
    StaticMembership::new("test", records).expect_err("not a network")
}

#[test]
fn records() {
    check(
        &NodeRecord { keys: keys(), address: text("h:1"), swarm: SwarmId(1) },
        "11*1184 22*1952   # keys
         00000003 683a31   # address
         0000000000000001  # swarm",
    );
    limit::<NodeRecord>("11*1184 22*1952", ADDRESS_BYTES_MAX);
    check(&member(), "0a*32 00000003 683a31");
    limit::<Member>("0a*32", ADDRESS_BYTES_MAX);
}

/// Computed apart: SHA-256 of label and name, each behind its length.
#[test]
fn a_network_is_the_digest_of_its_name() {
    assert_eq!(
        network_id("test").to_string(),
        "f9f326943e3d58cdaf8e9acb6ad204f877b533cf2d29888f79c2e70b212818b7"
    );
    assert_ne!(network_id("test"), network_id("Test"));
}

#[test]
fn everything_is_ordered_by_id() {
    let network = StaticMembership::new("test", (1..=9).map(|n| record(n, u64::from(n % 3))))
        .expect("nine different nodes");
    assert_eq!(network.network(), network_id("test"));
    assert_eq!(network.height(), 0);
    assert_eq!(network.swarms(), [SwarmId(0), SwarmId(1), SwarmId(2)]);
    let nodes: Vec<_> = network.nodes().iter().map(|(id, _)| *id).collect();
    assert!(nodes.is_sorted());
    assert_eq!(nodes.len(), 9);
    for (id, record) in network.nodes() {
        assert_eq!(network.node(&id), Some(record));
        assert_eq!(network.node_of_key(record.keys.dsa()), Some(id));
        assert!(network.members(record.swarm).contains(&id));
    }
    let members = network.members(SwarmId(2));
    assert!(members.is_sorted());
    let told: Vec<_> = network.member_list(SwarmId(2)).iter().map(|member| member.node).collect();
    assert_eq!(told, members);
}

#[test]
fn strangers_are_not_found() {
    let network = StaticMembership::new("test", [record(1, 0)]).expect("one node");
    let stranger = record(2, 0);
    assert_eq!(network.node(&stranger.id()), None);
    assert_eq!(network.node_of_key(stranger.keys.dsa()), None);
    assert_eq!(network.members(SwarmId(1)), []);
    assert!(network.member_list(SwarmId(1)).is_empty());
}

#[test]
fn names_have_1_to_64_characters() {
    for (name, got) in [(String::new(), 0), ("ä".repeat(65), 65)] {
        let error = StaticMembership::new(&name, [record(1, 0)]).unwrap_err();
        assert_eq!(error, BadMembership::Name { got });
    }
    StaticMembership::new(&"ä".repeat(64), [record(1, 0)]).expect("64 characters");
}

#[test]
fn contradictions_are_named() {
    assert_eq!(refused([]), BadMembership::Empty);
    assert_eq!(refused([record(1, 0), record(1, 0)]), BadMembership::Duplicate(record(1, 0).id()));

    let mut moved = record(1, 0);
    moved.address = text("127.0.0.1:2");
    assert_eq!(refused([record(1, 0), moved]), BadMembership::Duplicate(record(1, 0).id()));

    let mut same_address = record(2, 0);
    same_address.address = record(1, 0).address;
    let (address, node) = ("127.0.0.1:1".to_owned(), record(1, 0).id());
    assert_eq!(
        refused([record(1, 0), same_address]),
        BadMembership::Endpoint { address, node },
        "the one who was there first is named"
    );
}

/// Who is connected is told by the signing key alone: it must belong to one node.
#[test]
fn two_nodes_with_one_signing_key_are_refused() {
    let (first, mut second) = (record(1, 0), record(2, 0));
    let shared = DsaPublicKey::from(*first.keys.dsa().as_bytes());
    second.keys = PublicIdentity::new(second.keys.kem().clone(), shared);
    assert_ne!(first.id(), second.id());
    let node = first.id();
    assert_eq!(refused([first, second]), BadMembership::SharedKey { node });
}

#[test]
fn a_swarm_is_full_at_its_limit() {
    let full = u8::try_from(SWARM_MEMBERS_MAX).expect("a handful");
    let network =
        StaticMembership::new("test", (1..=full).map(|n| record(n, 5))).expect("at the limit");
    assert_eq!(network.member_list(SwarmId(5)).len(), SWARM_MEMBERS_MAX);
    assert_eq!(
        refused((1..=full + 1).map(|n| record(n, 5))),
        BadMembership::SwarmTooLarge { swarm: SwarmId(5), got: SWARM_MEMBERS_MAX + 1 }
    );
}

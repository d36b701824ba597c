use session_core::{AccountId, NodeId, SeededEntropy, SwarmId};
use session_crypto::Identity;
use session_rpc::network_file::{NetworkFile, Placement};

use super::{BadNetworkFile, entry, membership};
use crate::Membership;
use crate::membership::BadMembership;

fn file() -> NetworkFile {
    let mut rng = SeededEntropy::new(1);
    let nodes = (1..=3).map(|port| {
        let identity = Identity::generate(&mut rng);
        entry(identity.public(), format!("127.0.0.1:{port}").parse().unwrap(), SwarmId(port % 2))
    });
    NetworkFile { network: "test".into(), placement: Placement::Ring, nodes: nodes.collect() }
}

#[test]
fn a_file_becomes_a_network() {
    let mut file = file();
    let operator = AccountId::from([9; 32]);
    (file.nodes[1].operator, file.nodes[1].stake) = (Some(operator), Some(100));
    let network = membership(&file).unwrap();
    let [first, second] = [0, 1].map(|index: usize| file.nodes[index].id);
    assert_eq!((network.operator(&second), network.stake(&second)), (Some(operator), Some(100)));
    assert_eq!((network.operator(&first), network.stake(&first)), (None, None));
    assert_eq!(network.swarms(), [SwarmId(0), SwarmId(1)]);
    for node in &file.nodes {
        let record = network.node(&node.id).unwrap();
        assert_eq!(*record.address, *node.address.to_string());
        assert_eq!(network.node_of_key(record.keys.dsa()), Some(node.id));
    }
}

#[test]
fn contradictions_name_the_node() {
    let mut wrong_id = file();
    wrong_id.nodes[1].id = NodeId::from([1; 32]);
    assert!(matches!(membership(&wrong_id), Err(BadNetworkFile::Id { index: 1, .. })));

    let mut wrong_key = file();
    wrong_key.nodes[2].kem_public_key.pop();
    let error = membership(&wrong_key).unwrap_err();
    assert!(error.to_string().starts_with("node[2].kem_public_key: "), "{error}");

    let mut twice = file();
    twice.nodes[1] = twice.nodes[0].clone();
    let duplicate = BadNetworkFile::Membership(BadMembership::Duplicate(twice.nodes[0].id));
    assert_eq!(membership(&twice).unwrap_err(), duplicate);

    let mut long = file();
    long.nodes[0].address = format!("{}:65535", "a".repeat(253)).parse().unwrap();
    assert_eq!(membership(&long).unwrap_err(), BadNetworkFile::Address { index: 0, got: 259 });
}

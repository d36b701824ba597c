//! Nodes that lost their stores: when they may say again that they have everything.

use session_core::Span;

use crate::cluster::{Cluster, Owner};

fn swarm(members: usize, seed: u64) -> Cluster {
    let seats = [(0, (0..members).collect())];
    let mut cluster = Cluster::seated(members, &seats, seed);
    cluster.advance(Span::from_secs(20));
    cluster
}

fn is_complete(cluster: &Cluster, index: usize) -> bool {
    cluster.nodes[index].swarm.is_complete()
}

#[test]
fn a_new_network_is_complete_once_its_members_have_met() {
    let seats = [(0, vec![0, 1, 2])];
    let cluster = Cluster::seated(3, &seats, 1);
    assert!((0..3).all(|index| !is_complete(&cluster, index)));
    let cluster = swarm(3, 1);
    assert!((0..3).all(|index| is_complete(&cluster, index)));
    // Alone there is nobody to ask.
    assert!(is_complete(&swarm(1, 2), 0));
}

#[test]
fn a_lost_store_is_complete_when_every_quorum_was_asked() {
    let mut cluster = swarm(4, 3);
    let alice = Owner::new(1);
    let items: Vec<_> = (0..20).map(|n| cluster.deposit(0, &alice, &format!("item {n}"))).collect();
    cluster.run();
    cluster.stop(3);
    cluster.start(3);
    assert!(is_complete(&cluster, 3), "its disk says so");

    // Of four, three acknowledge: one mate alone may be the one that did not.
    for index in [1, 2, 3] {
        cluster.stop(index);
    }
    cluster.lose_disk(3);
    cluster.start(3);
    cluster.advance(Span::from_secs(60));
    assert!(!is_complete(&cluster, 3));
    cluster.start(1);
    cluster.advance(Span::from_secs(60));
    assert!(is_complete(&cluster, 3));
    let address = alice.address();
    assert!(items.iter().all(|id| cluster.holders(&address, id) == 4));
    cluster.stop(3);
    cluster.start(3);
    assert!(is_complete(&cluster, 3), "once found, it is remembered");
}

#[test]
fn receipts_of_members_are_handed_out_now_and_then() {
    let mut cluster = swarm(4, 4);
    cluster.promised.clear();
    let alice = Owner::new(1);
    for n in 0..50 {
        cluster.deposit(0, &alice, &format!("at once {n}"));
    }
    let network = cluster.network();
    let (seen, all) = (cluster.promised.len(), &cluster.promised);
    assert!((1..=3).contains(&seen), "{seen} in a moment");
    for (index, promise) in all {
        assert_eq!(*index, 0);
        assert_ne!(promise.receipt.node, cluster.nodes[0].id);
        assert_eq!(promise.receipt.address, alice.address());
        promise.root.covers(network, &promise.receipt, &promise.path).unwrap();
    }
    cluster.advance(Span::from_secs(2));
    cluster.deposit(0, &alice, "later");
    assert!(cluster.promised.len() > seen);

    // A network that never changes has nobody to show them to.
    let mut cluster = Cluster::new(4, 5);
    cluster.deposit(0, &alice, "of no use");
    cluster.run();
    assert!(cluster.promised.is_empty());
}

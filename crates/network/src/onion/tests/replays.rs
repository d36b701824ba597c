use session_core::{Epoch, SeededEntropy, Time};

use super::{EPOCH, NOW, Node, UNTIL, World, order};
use crate::onion::{BadPath, HopKey, NotPeeled, Packet, Path};

#[test]
fn a_packet_is_taken_once() {
    let mut world = World::new(20, 2);
    let (packet, _) = world.request(2, b"once");
    let (other, _) = world.request(2, b"once");
    let hop = &mut world.nodes[0].hop;
    assert!(hop.peel(NOW, &packet).is_ok());
    for _ in 0..3 {
        assert_eq!(hop.peel(NOW, &packet).map(drop), Err(NotPeeled));
    }
    assert!(hop.peel(NOW, &other).is_ok(), "the same content in another packet is another one");
    assert_eq!(hop.taken(EPOCH), 2);
}

#[test]
fn each_hop_remembers_for_itself() {
    let mut world = World::new(21, 2);
    let (packet, _) = world.request(2, b"");
    let exit = world.walk(world.nodes[0].id(), packet);
    assert_eq!(world.nodes[1].hop.peel(NOW, &exit.links[1]).map(drop), Err(NotPeeled));
}

#[test]
fn when_no_more_can_be_remembered_no_more_is_taken() {
    let mut world = World::new(22, 0);
    world.nodes.push(Node::new(&mut world.rng, 2));
    let packets = [0; 3].map(|_| world.request(1, b"").0);
    let key = world.nodes[0].rotate_next();
    let hop = &mut world.nodes[0].hop;
    let taken = packets.each_ref().map(|packet| hop.peel(NOW, packet).is_ok());
    assert_eq!(taken, [true, true, false]);
    assert_eq!(hop.taken(EPOCH), 2);
    // The bound is for each key: another epoch goes on.
    let next = made(&mut world.rng, &key);
    assert!(world.nodes[0].hop.peel(NOW, &next).is_ok());
    assert_eq!(world.nodes[0].hop.peel(NOW, &packets[0]).map(drop), Err(NotPeeled));
}

/// Makes a request for one key.
fn made(rng: &mut SeededEntropy, key: &HopKey) -> Packet {
    let path = Path::new(vec![key.clone()], NOW).expect("one hop");
    Packet::build(rng, &path, &order(b"")).expect("it fits").0
}

impl Node {
    fn rotate_next(&mut self) -> HopKey {
        self.rotate(&mut SeededEntropy::new(99), Epoch(EPOCH.0 + 1), UNTIL)
    }
}

#[test]
fn two_epochs_overlap_and_a_third_erases_the_first() {
    let mut world = World::new(23, 1);
    let old = [0; 2].map(|_| world.request(1, b"").0);
    let rng = &mut world.rng;
    let node = &mut world.nodes[0];
    let second = node.rotate(rng, Epoch(8), UNTIL);
    let [one, two] = [0; 2].map(|_| made(rng, &second));
    assert!(node.hop.peel(NOW, &old[0]).is_ok(), "the old key is still there");
    assert!(node.hop.peel(NOW, &one).is_ok(), "the new one is there already");

    let third = node.rotate(rng, Epoch(9), UNTIL);
    assert_eq!(node.hop.epochs().collect::<Vec<_>>(), [Epoch(8), Epoch(9)]);
    assert_eq!(node.hop.peel(NOW, &old[1]).map(drop), Err(NotPeeled), "erased");
    assert_eq!(node.hop.taken(EPOCH), 0, "and with it what was remembered");
    assert_eq!(node.hop.peel(NOW, &one).map(drop), Err(NotPeeled), "still remembered");
    assert!(node.hop.peel(NOW, &two).is_ok());
    assert!(node.hop.peel(NOW, &made(rng, &third)).is_ok());
}

#[test]
fn a_key_ends_with_its_time() {
    let mut world = World::new(24, 1);
    let [one, two] = [0; 2].map(|_| world.request(1, b"").0);
    let hop = &mut world.nodes[0].hop;
    let last = Time::from_millis(UNTIL.as_millis() - 1);
    assert_eq!(hop.peel(UNTIL, &one).map(drop), Err(NotPeeled));
    assert!(hop.peel(last, &one).is_ok());
    hop.forget(last);
    assert_eq!(hop.epochs().count(), 1);
    hop.forget(UNTIL);
    assert_eq!((hop.epochs().count(), hop.taken(EPOCH)), (0, 0));
    assert_eq!(hop.peel(NOW, &two).map(drop), Err(NotPeeled));

    let key = world.nodes[0].key.clone();
    let node = key.node();
    for now in [UNTIL, Time::from_millis(999)] {
        let path = Path::new(vec![key.clone()], now).map(drop);
        assert_eq!(path, Err(BadPath::NotValid { node, now }), "nor are packets made for it");
    }
}

#[test]
fn a_packet_names_one_epoch() {
    let mut world = World::new(25, 2);
    let other = world.nodes[1].rotate_next();
    let (node, expected) = (other.node(), EPOCH);
    let path = Path::new(vec![world.nodes[0].key.clone(), other], NOW).map(drop);
    assert_eq!(path, Err(BadPath::Epochs { node, got: Epoch(8), expected }));

    // A packet for one key under the name of another one that is there as well.
    let (packet, _) = world.request(1, b"");
    world.nodes[0].rotate_next();
    let mut bytes = packet.as_bytes().to_vec();
    bytes[9] = 8;
    let renamed = Packet::try_from(bytes).unwrap();
    assert_eq!(renamed.epoch(), Epoch(8));
    assert_eq!(world.nodes[0].hop.peel(NOW, &renamed).map(drop), Err(NotPeeled));
    assert!(world.nodes[0].hop.peel(NOW, &packet).is_ok());
}

#[test]
fn a_second_key_for_an_epoch_replaces_the_first() {
    let mut world = World::new(26, 1);
    let [seen, late] = [0; 2].map(|_| world.request(1, b"").0);
    assert!(world.nodes[0].hop.peel(NOW, &seen).is_ok());
    let key = world.nodes[0].rotate(&mut world.rng, EPOCH, UNTIL);
    world.nodes[0].key = key;
    let hop = &mut world.nodes[0].hop;
    assert_eq!((hop.epochs().count(), hop.taken(EPOCH)), (1, 0));
    for packet in [seen, late] {
        assert_eq!(hop.peel(NOW, &packet).map(drop), Err(NotPeeled));
    }
    let (new, _) = world.request(1, b"");
    assert!(world.nodes[0].hop.peel(NOW, &new).is_ok());
}

#[test]
fn packets_opened_side_by_side_are_taken_once() {
    let mut world = World::new(27, 1);
    let (packet, _) = world.request(1, b"");
    let hop = &mut world.nodes[0].hop;
    let opener = hop.opener();
    let opened: Vec<_> = std::thread::scope(|scope| {
        let open = || scope.spawn(|| opener.open(NOW, &packet));
        [open(), open()].map(|thread| thread.join().unwrap()).into()
    });
    let taken: Vec<_> = opened.into_iter().map(|opened| hop.admit(opened).is_ok()).collect();
    assert_eq!(taken, [true, false]);
}

#[test]
fn what_was_opened_with_a_key_that_is_gone_is_not_taken() {
    let mut world = World::new(28, 1);
    let (packet, _) = world.request(1, b"");
    let hop = &mut world.nodes[0].hop;
    let opened = hop.opener().open(NOW, &packet);
    hop.forget(UNTIL);
    assert_eq!(hop.admit(opened).map(drop), Err(NotPeeled));
}

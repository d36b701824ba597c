//! What each party sees.

use std::collections::BTreeSet;

use session_core::Encode as _;

use super::{EPOCH, NOW, World, order, way_back};
use crate::onion::geometry::{PREFIX, REQUEST_HEADER};
use crate::onion::layer;
use crate::onion::{HOPS_MAX, Handle, Order, Packet, Peeled, ReplyBlock, ReplyBlocks, Size};

/// All stretches of eight bytes: random ones that agree by accident do so once in 2^38 pairs of
/// packets.
fn stretches(bytes: &[u8]) -> BTreeSet<&[u8]> {
    bytes.windows(8).collect()
}

fn share(left: &[u8], right: &[u8]) -> bool {
    !stretches(left).is_disjoint(&stretches(right))
}

#[test]
fn a_packet_has_nothing_on_one_link_that_it_has_on_another() {
    let mut world = World::new(50, 5);
    let (packet, _) = world.request(5, &[0xaa; 2_000]);
    let exit = world.walk(world.nodes[0].id(), packet);
    let answers = way_back(exit.backs, exit.answer.seal_reply(&[0xaa; 2_000]).unwrap());
    for links in [exit.links, answers] {
        for (index, link) in links.iter().enumerate() {
            let bytes = link.as_bytes();
            assert_eq!(bytes[..PREFIX], links[0].as_bytes()[..PREFIX]);
            for other in &links[index + 1..] {
                assert!(!share(&bytes[PREFIX..], &other.as_bytes()[PREFIX..]));
            }
        }
    }
}

#[test]
fn packets_and_answers_look_like_noise() {
    let mut world = World::new(51, 3);
    let (packet, _) = world.request(3, &[0; 4_000]);
    let exit = world.walk(world.nodes[0].id(), packet);
    let answers = way_back(exit.backs, exit.answer.seal_reply(&[0; 4_000]).unwrap());
    for link in exit.links.iter().chain(&answers) {
        let mut counts = [0_u64; 256];
        link.as_bytes()[PREFIX..].iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        // Chi-square with 255 degrees of freedom, scaled: 350 is passed once in 30,000 times.
        let total = (link.as_bytes().len() - PREFIX) as u64;
        let squares: u64 = counts.iter().map(|count| count * count).sum();
        let chi = (squares * 256).saturating_sub(total * total) / total;
        assert!(chi < 350, "{chi}");
    }
}

#[test]
fn an_exit_sees_the_same_from_every_client() {
    let mut world = World::new(52, 5);
    let payload = [0x11; 500];
    let mut views = Vec::new();
    for hops in [&[0, 1, 4][..], &[2, 3, 4], &[4], &[3, 2, 1, 0, 4]] {
        let path = world.path(hops);
        let (packet, _) = Packet::build(&mut world.rng, &path, &order(&payload)).unwrap();
        let mut exit = world.walk(path.first(), packet);
        assert_eq!(exit.payload, payload);
        assert_eq!(exit.links.len(), hops.len());
        let seen = exit.links.pop().unwrap();
        // Neither the hops before nor what was on the links before is in what the exit gets.
        for hop in &hops[..hops.len() - 1] {
            assert!(!share(seen.as_bytes(), world.nodes[*hop].id().as_bytes()));
        }
        for link in &exit.links {
            assert!(!share(&seen.as_bytes()[PREFIX..], &link.as_bytes()[PREFIX..]));
        }
        views.push((exit.service, exit.delay, exit.payload, exit.answer.size()));
    }
    assert!(views.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn an_exit_does_not_see_how_long_the_path_was() {
    let mut world = World::new(53, HOPS_MAX);
    for (hops, size) in (1..=HOPS_MAX).flat_map(|hops| Size::ALL.map(|size| (hops, size))) {
        let path = world.path(&(0..hops).collect::<Vec<_>>());
        let order = Order { size, ..order(b"short") };
        let (packet, _) = Packet::build(&mut world.rng, &path, &order).unwrap();
        let exit = world.walk(path.first(), packet);
        let last = exit.links.last().unwrap();
        // The exit's own view of everything behind the payload: padding, and what others appended.
        let key = &path.steps()[hops - 1].key;
        let content = world.nodes[hops - 1].hop.decrypted(key, last);
        let behind = &content[4 + b"short".len()..];
        assert_eq!(stretches(behind).len(), behind.len() - 7, "a stretch repeats itself");
        assert!(behind.windows(4).all(|four| four != [0; 4]), "zeros after {hops} hops");
    }
}

impl crate::onion::Hop {
    fn decrypted(&self, key: &crate::onion::HopKey, packet: &Packet) -> Vec<u8> {
        let secret = self.secret(EPOCH);
        let sealed = (packet.as_bytes(), REQUEST_HEADER);
        layer::unwrap(secret, key.public(), &key.node(), sealed).content()
    }
}

#[test]
fn who_uses_a_reply_block_sees_its_first_hop_only() {
    let mut world = World::new(54, 4);
    let handle = Handle([0x4d; 32]);
    let path = world.path(&[0, 1, 2]);
    let (block, _) = ReplyBlock::build(&mut world.rng, &path, handle).unwrap();
    let payload = ReplyBlocks::new(vec![block]).unwrap().to_bytes();
    let out = world.path(&[2, 1, 3]);
    let (packet, _) = Packet::build(&mut world.rng, &out, &order(&payload)).unwrap();
    let exit = world.walk(out.first(), packet);
    assert!(!share(&exit.payload, &handle.0));
    for hidden in [1, 2] {
        assert!(!share(&exit.payload, world.nodes[hidden].id().as_bytes()));
    }
    assert!(share(&exit.payload, world.nodes[0].id().as_bytes()));
}

#[test]
fn returning_packets_have_nothing_in_common_between_links() {
    let mut world = World::new(55, 3);
    let path = world.path(&[0, 1, 2]);
    let (block, _) = ReplyBlock::build(&mut world.rng, &path, Handle([0x4d; 32])).unwrap();
    let (_, packet) = block.seal(Size::Small, &[0; 3_000]).unwrap();
    let mut links = vec![packet];
    for index in 0..3 {
        let last = links.last().unwrap().clone();
        match world.nodes[index].hop.peel(NOW, &last) {
            Ok(Peeled::Forward { packet, .. } | Peeled::Hand { packet, .. }) => links.push(packet),
            other => panic!("hop {index} did {other:?}"),
        }
    }
    for (index, link) in links.iter().enumerate() {
        for other in &links[index + 1..] {
            assert!(!share(&link.as_bytes()[PREFIX..], &other.as_bytes()[PREFIX..]));
        }
    }
}

#[test]
fn nothing_secret_is_printed() {
    let mut world = World::new(56, 2);
    let (packet, keys) = world.request(2, b"secret");
    assert_eq!(format!("{packet:?}"), "Packet(Request, Small)");
    let printed = format!("{keys:?}");
    assert!(
        printed.contains("SymmetricKey") && !printed.contains('['.to_string().repeat(2).as_str())
    );
    let path = world.path(&[0, 1]);
    let (block, keys) = ReplyBlock::build(&mut world.rng, &path, Handle([1; 32])).unwrap();
    assert_eq!(format!("{block:?}"), "ReplyBlock");
    assert!(!format!("{keys:?}").contains("0x"));
    let peeled = format!("{:?}", world.nodes[0].hop.peel(NOW, &packet).unwrap());
    assert!(peeled.contains("back: Some(BackKey(SymmetricKey))"), "{peeled}");
}

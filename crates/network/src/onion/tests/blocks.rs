use session_core::{Decode as _, DecodeError, Encode as _, NodeId};
use session_crypto::aead::NotOpened;

use super::{EPOCH, NOW, World, flipped, order};
use crate::onion::{
    BadPath, BlockKeys, Exhausted, Handle, Kind, NotPeeled, Order, Packet, Peeled,
    REPLY_BLOCK_BYTES, REPLY_BLOCKS_MAX, RETURN_HOPS_MAX, ReplyBlock, ReplyBlocks, Size, TooLong,
};

const HANDLE: Handle = Handle([0xc1; 32]);

fn block(world: &mut World, hops: &[usize]) -> (ReplyBlock, BlockKeys) {
    let path = world.path(hops);
    ReplyBlock::build(&mut world.rng, &path, HANDLE).expect("at most three hops")
}

/// Carries a returning packet to the client; the last of the packets is what it gets.
fn carry(world: &mut World, first: NodeId, packet: Packet) -> Vec<Packet> {
    let (mut at, mut links) = (first, vec![packet]);
    loop {
        let packet = links.last().expect("begun with one").clone();
        match world.node(at).hop.peel(NOW, &packet).expect("an honest packet") {
            Peeled::Forward { next, packet, back: None, .. } => {
                at = next;
                links.push(packet);
            }
            Peeled::Hand { handle, packet, .. } => {
                assert_eq!(handle, HANDLE);
                links.push(packet);
                return links;
            }
            other => panic!("a returning packet became {other:?}"),
        }
    }
}

#[test]
fn a_block_brings_one_packet_back_over_one_to_three_hops() {
    let mut world = World::new(40, RETURN_HOPS_MAX);
    for (hops, size) in (1..=RETURN_HOPS_MAX).flat_map(|hops| Size::ALL.map(|size| (hops, size))) {
        let (block, keys) = block(&mut world, &(0..hops).collect::<Vec<_>>());
        let content = vec![0x77; size.return_bytes_max()];
        let (first, packet) = block.seal(size, &content).unwrap();
        assert_eq!(first, world.nodes[0].id());
        let links = carry(&mut world, first, packet);
        assert_eq!(links.len(), hops + 1);
        assert!(links.iter().all(|packet| packet.as_bytes().len() == size.bytes()));
        let handed = links.last().unwrap();
        assert_eq!((handed.kind(), handed.return_id()), (Kind::Handed, Some(keys.id())));
        assert_eq!(keys.open(handed).unwrap(), content);
    }
}

#[test]
fn a_block_has_three_hops_at_most_and_room_for_so_much() {
    let mut world = World::new(41, 4);
    let path = world.path(&[0, 1, 2, 3]);
    let refused = ReplyBlock::build(&mut world.rng, &path, HANDLE).map(drop);
    assert_eq!(refused, Err(BadPath::TooLong { got: 4, limit: 3 }));
    let (block, _) = block(&mut world, &[0]);
    let limit = Size::Bulk.return_bytes_max();
    let refused = block.seal(Size::Bulk, &vec![0; limit + 1]).map(drop);
    assert_eq!(refused, Err(TooLong { got: limit + 1, limit }));
}

#[test]
fn a_block_that_is_used_twice_is_stopped_at_its_first_hop() {
    let mut world = World::new(42, 3);
    let (block, keys) = block(&mut world, &[0, 1, 2]);
    let copy = ReplyBlock::decode_exact(&block.to_bytes()).unwrap();
    let (first, packet) = block.seal(Size::Small, b"first").unwrap();
    let (_, second) = copy.seal(Size::Small, b"second").unwrap();
    let links = carry(&mut world, first, packet);
    assert_eq!(world.nodes[0].hop.peel(NOW, &second).map(drop), Err(NotPeeled));
    assert_eq!(keys.open(&links[3]).unwrap(), b"first");
}

#[test]
fn a_spoiled_header_is_dropped_and_a_spoiled_content_does_not_open() {
    let header = 10 + 3 * 1_200;
    let mut world = World::new(43, 3);
    let (first, packet) = block(&mut world, &[0, 1, 2]).0.seal(Size::Small, b"content").unwrap();
    for place in (2..header).step_by(37).chain([header - 1]) {
        let changed = flipped(&packet, place).unwrap();
        assert_eq!(world.nodes[0].hop.peel(NOW, &changed).map(drop), Err(NotPeeled), "{place}");
    }
    let links = carry(&mut world, first, packet);

    // The same blocks again, each spoiled in another place on another link.
    for (link, place) in
        [(0, header), (1, 5_000), (2, 8_191), (3, header), (3, 10), (3, 26), (3, header - 1)]
    {
        let mut world = World::new(43, 3);
        let (_, keys) = block(&mut world, &[0, 1, 2]);
        let spoiled = flipped(&links[link], place).unwrap();
        let handed = if link == 3 {
            spoiled
        } else {
            let at = world.nodes[link].id();
            carry(&mut world, at, spoiled).pop().unwrap()
        };
        assert_eq!(keys.open(&handed), Err(NotOpened), "byte {place} on link {link}");
    }
}

#[test]
fn keys_of_one_block_open_no_other() {
    let mut world = World::new(44, 1);
    let (one, keys) = block(&mut world, &[0]);
    let (other, _) = block(&mut world, &[0]);
    drop(one);
    let (first, packet) = other.seal(Size::Small, b"for the other").unwrap();
    let mut links = carry(&mut world, first, packet);
    assert_eq!(keys.open(&links.remove(1)), Err(NotOpened));
}

#[test]
fn a_request_is_no_end_of_a_block() {
    let mut world = World::new(45, 1);
    let (_, keys) = block(&mut world, &[0]);
    let (packet, _) = world.request(1, b"");
    assert_eq!(packet.return_id(), None);
    assert_eq!(keys.open(&packet), Err(NotOpened));
}

#[test]
fn blocks_travel_in_requests_and_run_out() {
    let mut world = World::new(46, 6);
    let made: Vec<_> = (0..REPLY_BLOCKS_MAX).map(|_| block(&mut world, &[3, 4, 5])).collect();
    let (blocks, keys): (Vec<_>, Vec<_>) = made.into_iter().unzip();
    let payload = ReplyBlocks::new(blocks).unwrap().to_bytes();
    assert_eq!(payload.len(), 4 + REPLY_BLOCKS_MAX * REPLY_BLOCK_BYTES);
    let path = world.path(&[0, 1, 2]);
    let order = Order { size: Size::Bulk, ..order(&payload) };
    let (packet, _) = Packet::build(&mut world.rng, &path, &order).unwrap();
    let exit = world.walk(path.first(), packet);

    let mut blocks = ReplyBlocks::decode_exact(&exit.payload).unwrap();
    for (index, keys) in keys.into_iter().enumerate() {
        assert_eq!(blocks.left(), REPLY_BLOCKS_MAX - index);
        let content = [u8::try_from(index).unwrap()];
        let (first, packet) = blocks.take().unwrap().seal(Size::Small, &content).unwrap();
        let handed = carry(&mut world, first, packet).pop().unwrap();
        assert_eq!(keys.open(&handed).unwrap(), content);
    }
    assert_eq!(blocks.take().map(drop), Err(Exhausted));
    assert_eq!(world.nodes[3].hop.taken(EPOCH), REPLY_BLOCKS_MAX);
}

#[test]
fn a_block_has_one_encoding() {
    let mut world = World::new(47, 3);
    let bytes = block(&mut world, &[0, 1, 2]).0.to_bytes();
    assert_eq!(bytes.len(), REPLY_BLOCK_BYTES);
    assert_eq!(ReplyBlock::decode_exact(&bytes).unwrap().to_bytes(), bytes);
    for length in 0..bytes.len() {
        let cut = ReplyBlock::decode_exact(&bytes[..length]).map(drop);
        assert!(matches!(cut, Err(DecodeError::TooShort { .. })), "{length} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    let trailing = ReplyBlock::decode_exact(&longer).map(drop);
    assert_eq!(trailing, Err(DecodeError::Trailing { left: 1 }));
    for (place, value) in [(64, 2), (65, 0), (65, 1), (65, 3), (65, 4), (65, 9)] {
        let mut other = bytes.clone();
        other[place] = value;
        assert!(ReplyBlock::decode_exact(&other).is_err(), "{value} at {place}");
    }

    let many = [&8u32.to_bytes()[..], &bytes.repeat(8)].concat();
    let refused = ReplyBlocks::decode_exact(&many).map(drop);
    let over = DecodeError::OverLimit { field: "ReplyBlocks", got: 8, limit: REPLY_BLOCKS_MAX };
    assert_eq!(refused, Err(over));
    let blocks = (0..8).map(|_| ReplyBlock::decode_exact(&bytes).unwrap()).collect();
    assert!(ReplyBlocks::new(blocks).is_err());
}

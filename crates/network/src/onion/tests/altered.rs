use session_core::{Decode as _, DecodeError, Encode as _};
use session_crypto::aead::NotOpened;

use super::{EPOCH, NOW, World, crafted, flipped, order, way_back};
use crate::onion::routing::{Command, Routing};
use crate::onion::{
    Handle, Kind, NotAnAnswer, NotPeeled, Order, Packet, Peeled, ReturnId, Service, Size,
};

#[test]
fn a_packet_with_any_byte_changed_is_dropped_at_the_next_hop() {
    let mut world = World::new(10, 3);
    let (packet, _) = world.request(3, b"untouched");
    let exit = world.walk(world.nodes[0].id(), packet);
    // The hops have seen these packets; fresh ones have not.
    let mut world = World::new(10, 3);
    for (hop, packet) in exit.links.iter().enumerate() {
        // Everything in the middle of the path, where a mark would be of use; samples elsewhere.
        let step = if hop == 1 { 1 } else { 13 };
        for place in (0..Size::Small.bytes()).step_by(step) {
            let Some(changed) = flipped(packet, place) else {
                assert!(place < 2, "only version and kind make something that is no packet");
                continue;
            };
            let taken = world.nodes[hop].hop.peel(NOW, &changed).map(drop);
            assert_eq!(taken, Err(NotPeeled), "byte {place} on link {hop}");
        }
        assert_eq!(world.nodes[hop].hop.taken(EPOCH), 0, "what is refused is not remembered");
        assert!(world.nodes[hop].hop.peel(NOW, packet).is_ok(), "link {hop}");
    }
}

#[test]
fn changes_in_a_bulk_packet_are_seen_as_well() {
    let mut world = World::new(11, 2);
    let order = Order { size: Size::Bulk, ..order(&[7; 30_000]) };
    let path = world.path(&[0, 1]);
    let (packet, _) = Packet::build(&mut world.rng, &path, &order).unwrap();
    for place in (2..Size::Bulk.bytes()).step_by(509).chain([Size::Bulk.bytes() - 1]) {
        let changed = flipped(&packet, place).unwrap();
        assert_eq!(world.nodes[0].hop.peel(NOW, &changed).map(drop), Err(NotPeeled));
    }
    assert!(world.nodes[0].hop.peel(NOW, &packet).is_ok());
}

#[test]
fn what_is_no_packet_is_named() {
    let mut world = World::new(12, 1);
    let (packet, _) = world.request(1, b"");
    let bytes = packet.into_bytes();
    let size = Err(DecodeError::Invalid { field: "onion::Packet", why: "no size of packets" });
    for length in [0, 1, 10, 1_146, 8_191, 8_193, 32_767, 32_769, 1 << 20] {
        let mut other = bytes.clone();
        other.resize(length, 0);
        assert_eq!(Packet::try_from(other), size, "{length} bytes");
    }
    let with = |place: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[place] = value;
        Packet::try_from(bytes).map(|packet| packet.kind())
    };
    let unknown = |field, got| Err(DecodeError::UnknownTag { field, got });
    assert_eq!(with(0, 0), unknown("onion version", 0));
    assert_eq!(with(0, 2), unknown("onion version", 2));
    assert_eq!(with(1, 0), unknown("onion::Kind", 0));
    assert_eq!(with(1, 5), unknown("onion::Kind", 5));
    let kinds = [Kind::Request, Kind::Return, Kind::Answer, Kind::Handed];
    assert_eq!([1, 2, 3, 4].map(|kind| with(1, kind)), kinds.map(Ok));
}

#[test]
fn a_packet_that_calls_itself_another_kind_is_not_taken() {
    let mut world = World::new(13, 2);
    let (packet, _) = world.request(2, b"");
    for kind in [2, 3, 4] {
        let mut bytes = packet.as_bytes().to_vec();
        bytes[1] = kind;
        let other = Packet::try_from(bytes).unwrap();
        assert_eq!(world.nodes[0].hop.peel(NOW, &other).map(drop), Err(NotPeeled));
    }
    // Another size under the same header: cut to the other class, or filled up to it.
    let mut bytes = packet.as_bytes().to_vec();
    bytes.resize(Size::Bulk.bytes(), 0);
    let longer = Packet::try_from(bytes).unwrap();
    assert_eq!(world.nodes[0].hop.peel(NOW, &longer).map(drop), Err(NotPeeled));
}

#[test]
fn commands_that_a_request_does_not_have_are_refused_alike() {
    let mut world = World::new(14, 2);
    let own = world.nodes[0].id();
    let hand = Command::Hand { handle: Handle([1; 32]), id: ReturnId([2; 16]) };
    for errand in [hand, Command::Forward { next: own }] {
        let packet = crafted(&mut world, &[0], errand, &[]);
        assert_eq!(world.nodes[0].hop.peel(NOW, &packet).map(drop), Err(NotPeeled));
        assert_eq!(world.nodes[0].hop.taken(EPOCH), 0);
    }
}

#[test]
fn a_length_beyond_the_packet_is_refused() {
    let mut world = World::new(15, 1);
    let room = u32::try_from(Size::Small.payload_bytes_max(1)).unwrap();
    let errand = Command::Deliver { service: Service(1), answer: Size::Small };
    for (length, taken) in [(room, true), (room + 1, false), (u32::MAX, false)] {
        let packet = crafted(&mut world, &[0], errand, &length.to_be_bytes());
        assert_eq!(world.nodes[0].hop.peel(NOW, &packet).is_ok(), taken, "{length}");
    }
}

#[test]
fn routing_has_one_encoding() {
    let commands = [
        Command::Forward { next: [3; 32].into() },
        Command::Deliver { service: Service(0x0102), answer: Size::Bulk },
        Command::Hand { handle: Handle([4; 32]), id: ReturnId([5; 16]) },
        Command::Drop,
        Command::Loop { id: ReturnId([6; 16]) },
    ];
    let golden = [
        format!("01 00 0a0b 0000 {} {} {}", "03".repeat(32), "00".repeat(16), "00".repeat(10)),
        format!("02 02 0a0b 0102 {} {} {}", "00".repeat(32), "00".repeat(16), "00".repeat(10)),
        format!("03 00 0a0b 0000 {} {} {}", "04".repeat(32), "05".repeat(16), "00".repeat(10)),
        format!("04 00 0a0b 0000 {} {} {}", "00".repeat(32), "00".repeat(16), "00".repeat(10)),
        format!("05 00 0a0b 0000 {} {} {}", "00".repeat(32), "06".repeat(16), "00".repeat(10)),
    ];
    for (command, golden) in commands.into_iter().zip(golden) {
        let routing = Routing { command, delay_ms: 0x0a0b };
        session_core::testing::check_codec(&routing, &golden);
        // What a command does not have is zero, and there are no other commands.
        let bytes = routing.to_bytes();
        for place in (0..64).filter(|place| bytes[*place] == 0) {
            let mut other = bytes.clone();
            other[place] = 1;
            if let Ok(decoded) = Routing::decode_exact(&other) {
                assert_eq!(decoded.to_bytes(), other);
                assert_ne!(decoded, routing);
            }
        }
    }
    for code in [0, 6, 255] {
        let mut bytes = Routing { command: Command::Drop, delay_ms: 0 }.to_bytes();
        bytes[0] = code;
        assert!(Routing::decode_exact(&bytes).is_err(), "command {code}");
    }
}

#[test]
fn an_answer_with_any_byte_changed_does_not_open() {
    let mut world = World::new(16, 1);
    let (packet, keys) = world.request(1, b"");
    let exit = world.walk(world.nodes[0].id(), packet);
    let answer = exit.answer.seal_reply(b"true").unwrap();
    // Opening uses the keys up, so each place takes the request again from the same seed.
    for place in (0..Size::Small.bytes()).step_by(251).chain([2, 9, 10, 13, 8_191]) {
        let (_, keys) = World::new(16, 1).request(1, b"");
        let changed = flipped(&answer, place);
        let opened = changed.map_or(Err(NotOpened), |changed| keys.open(&changed));
        assert_eq!(opened, Err(NotOpened), "byte {place}");
    }
    assert_eq!(keys.open(&answer).unwrap(), b"true");
}

#[test]
fn an_answer_that_a_hop_spoiled_or_left_out_is_seen_by_the_client() {
    let spoil = |hop: usize, how: &dyn Fn(&Packet) -> Packet| {
        let mut world = World::new(17, 3);
        let (packet, keys) = world.request(3, b"");
        let exit = world.walk(world.nodes[0].id(), packet);
        let mut answer = exit.answer.seal_reply(b"true").unwrap();
        for (index, back) in exit.backs.into_iter().enumerate().rev() {
            let wrapped = back.wrap_reply(&answer).unwrap();
            answer = if index == hop { how(&answer) } else { wrapped };
        }
        keys.open(&answer)
    };
    for hop in [0, 1] {
        assert_eq!(spoil(hop, &Packet::clone), Err(NotOpened), "hop {hop} adds no layer");
        let mark = |answer: &Packet| flipped(answer, 5_000).unwrap();
        assert_eq!(spoil(hop, &mark), Err(NotOpened), "hop {hop} leaves a mark");
    }
    assert_eq!(spoil(9, &Packet::clone).unwrap(), b"true", "nobody does anything");
}

#[test]
fn an_answer_belongs_to_one_request() {
    let mut world = World::new(18, 2);
    let [(one, keys), (other, _)] = [b"one".as_slice(), b"two"].map(|payload| {
        let (packet, keys) = world.request(2, payload);
        (world.walk(world.nodes[0].id(), packet), keys)
    });
    let swapped = way_back(one.backs, other.answer.seal_reply(b"to two").unwrap());
    assert_eq!(keys.open(&swapped[1]), Err(NotOpened));

    // A bulk answer to a request that asked for a small one.
    let (packet, keys) = world.request(1, b"");
    let exit = world.walk(world.nodes[0].id(), packet);
    let mut bytes = exit.answer.seal_reply(b"").unwrap().into_bytes();
    bytes.resize(Size::Bulk.bytes(), 0);
    assert_eq!(keys.open(&Packet::try_from(bytes).unwrap()), Err(NotOpened));
}

#[test]
fn only_answers_go_back() {
    let mut world = World::new(19, 2);
    let (packet, _) = world.request(2, b"");
    let Ok(Peeled::Forward { back: Some(back), .. }) = world.nodes[0].hop.peel(NOW, &packet) else {
        panic!("the first hop forwards");
    };
    assert_eq!(back.wrap_reply(&packet), Err(NotAnAnswer { got: Kind::Request }));
}

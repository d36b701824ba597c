use session_core::{Entropy as _, Span};

use super::{EPOCH, NOW, World, order, way_back};
use crate::onion::geometry::{PREFIX, REQUEST_HEADER, RETURN_HEADER};
use crate::onion::{
    BadPath, Cover, HOPS_MAX, LAYER_BYTES, NotPeeled, Order, Packet, Path, Peeled, RETURN_HOPS_MAX,
    ReturnId, Service, Size, TooLong,
};

#[test]
fn requests_and_answers_travel_one_to_five_hops() {
    let mut world = World::new(1, HOPS_MAX);
    for (hops, size, answer) in (1..=HOPS_MAX)
        .flat_map(|hops| Size::ALL.map(|size| Size::ALL.map(|answer| (hops, size, answer))))
        .flatten()
    {
        let path = world.path(&(0..hops).collect::<Vec<_>>());
        let payload = vec![0xa5; size.payload_bytes_max(hops)];
        let order = Order { size, service: Service(9), answer, payload: &payload };
        let (packet, keys) = Packet::build(&mut world.rng, &path, &order).unwrap();
        let exit = world.walk(path.first(), packet);
        assert_eq!((exit.service, exit.delay), (Service(9), Span::ZERO));
        assert_eq!(exit.payload, payload);
        assert_eq!(exit.links.len(), hops);
        assert!(exit.links.iter().all(|packet| packet.as_bytes().len() == size.bytes()));

        assert_eq!(exit.answer.size(), answer);
        let content = vec![0x5a; answer.answer_bytes_max()];
        let links = way_back(exit.backs, exit.answer.seal_reply(&content).unwrap());
        assert_eq!(links.len(), hops);
        assert!(links.iter().all(|packet| packet.as_bytes().len() == answer.bytes()));
        assert_eq!(keys.open(links.last().unwrap()).unwrap(), content);
    }
}

#[test]
fn whatever_is_sent_arrives() {
    let mut world = World::new(8, HOPS_MAX);
    for round in 0..60 {
        let mut hops: Vec<usize> = (0..HOPS_MAX).collect();
        hops.rotate_left(round % HOPS_MAX);
        hops.truncate(1 + world.rng.below(HOPS_MAX as u64) as usize);
        let path = world.path(&hops);
        let [size, answer] = [0; 2].map(|_| Size::ALL[world.rng.below(3) as usize]);
        let lengths = [size.payload_bytes_max(hops.len()), answer.answer_bytes_max()];
        let [payload, content] = lengths.map(|limit| {
            let mut bytes = vec![0; world.rng.below(limit as u64 + 1) as usize];
            world.rng.fill(&mut bytes);
            bytes
        });
        let order = Order { size, service: Service(1), answer, payload: &payload };
        let (packet, keys) = Packet::build(&mut world.rng, &path, &order).unwrap();
        let exit = world.walk(path.first(), packet);
        assert_eq!(exit.payload, payload, "round {round}");
        let links = way_back(exit.backs, exit.answer.seal_reply(&content).unwrap());
        assert_eq!(keys.open(links.last().unwrap()).unwrap(), content, "round {round}");
    }
}

#[test]
fn nothing_is_also_a_payload_and_an_answer() {
    let mut world = World::new(2, 3);
    let (packet, keys) = world.request(3, b"");
    let exit = world.walk(world.nodes[0].id(), packet);
    assert_eq!(exit.payload, b"");
    let links = way_back(exit.backs, exit.answer.seal_reply(b"").unwrap());
    assert_eq!(keys.open(&links[2]).unwrap(), b"");
}

#[test]
fn what_does_not_fit_is_refused_with_the_limit() {
    let mut world = World::new(3, HOPS_MAX);
    for (hops, size) in (1..=HOPS_MAX).flat_map(|hops| Size::ALL.map(|size| (hops, size))) {
        let limit = size.payload_bytes_max(hops);
        let path = world.path(&(0..hops).collect::<Vec<_>>());
        let payload = vec![0; limit + 1];
        let order = Order { size, ..order(&payload) };
        let refused = Packet::build(&mut world.rng, &path, &order).map(drop);
        assert_eq!(refused, Err(TooLong { got: limit + 1, limit }));
    }
    let (packet, _) = world.request(1, b"");
    let exit = world.walk(world.nodes[0].id(), packet);
    let limit = Size::Small.answer_bytes_max();
    let refused = exit.answer.seal_reply(&vec![0; limit + 1]);
    assert_eq!(refused, Err(TooLong { got: limit + 1, limit }));
}

#[test]
fn room_for_payloads_is_what_the_documents_say() {
    let rooms = |size: Size| [0, 1, 2, 3, 4, 5, 6].map(|hops| size.payload_bytes_max(hops));
    assert_eq!(rooms(Size::Small), [0, 6_978, 5_778, 4_578, 3_378, 2_178, 0]);
    assert_eq!(rooms(Size::Bulk), [0, 31_554, 30_354, 29_154, 27_954, 26_754, 0]);
    assert_eq!(rooms(Size::Large), [0, 97_090, 95_890, 94_690, 93_490, 92_290, 0]);
    assert_eq!(Size::ALL.map(Size::answer_bytes_max), [8_162, 32_738, 98_274]);
    assert_eq!(Size::ALL.map(Size::return_bytes_max), [4_562, 29_138, 94_674]);
}

#[test]
fn a_packet_has_no_room_for_long_paths() {
    // What honest clients do not ask for is not possible either: a layer more than five at most.
    assert_eq!((REQUEST_HEADER - PREFIX) / LAYER_BYTES, HOPS_MAX + 1);
    assert_eq!(RETURN_HEADER, PREFIX + RETURN_HOPS_MAX * LAYER_BYTES);
}

#[test]
fn each_hop_is_told_its_own_delay() {
    let mut world = World::new(4, 3);
    let delays = [0, 1, 65_535].map(Span::from_millis);
    let path = world.path(&[0, 1, 2]).with_delays(&delays).unwrap();
    let (mut packet, _) = Packet::build(&mut world.rng, &path, &order(b"later")).unwrap();
    for (index, expected) in delays[..2].iter().enumerate() {
        let Ok(Peeled::Forward { next, delay, packet: moved, .. }) =
            world.nodes[index].hop.peel(NOW, &packet)
        else {
            panic!("hop {index} forwards");
        };
        assert_eq!((next, delay), (world.nodes[index + 1].id(), *expected));
        packet = moved;
    }
    assert_eq!(world.walk(world.nodes[2].id(), packet).delay, delays[2]);

    let bad = Err(BadPath::Delays { hops: 3 });
    assert_eq!(world.path(&[0, 1, 2]).with_delays(&delays[..2]).map(drop), bad);
    let long = [0, 0, 65_536].map(Span::from_millis);
    assert_eq!(world.path(&[0, 1, 2]).with_delays(&long).map(drop), bad);
}

#[test]
fn a_path_has_one_to_five_different_nodes() {
    let world = World::new(5, HOPS_MAX + 1);
    let path = |hops: &[usize]| {
        Path::new(hops.iter().map(|hop| world.nodes[*hop].key.clone()).collect(), NOW).map(drop)
    };
    assert_eq!(path(&[]), Err(BadPath::Empty));
    assert_eq!(path(&[0, 1, 2, 3, 4]), Ok(()));
    assert_eq!(path(&[0, 1, 2, 3, 4, 5]), Err(BadPath::TooLong { got: 6, limit: 5 }));
    assert_eq!(path(&[0, 1, 0]), Err(BadPath::Repeated { node: world.nodes[0].id() }));
    assert_eq!(path(&[3, 3]), Err(BadPath::Repeated { node: world.nodes[3].id() }));
    let (first, hops) = (world.nodes[4].id(), world.path(&[4, 2]));
    assert_eq!((hops.first(), hops.hops(), hops.epoch()), (first, 2, EPOCH));
}

#[test]
fn hops_take_their_layers_in_order() {
    let mut world = World::new(6, 3);
    let (packet, _) = world.request(3, b"in order");
    for wrong in [1, 2] {
        assert_eq!(world.nodes[wrong].hop.peel(NOW, &packet).map(drop), Err(NotPeeled));
    }
    let Ok(Peeled::Forward { packet: moved, .. }) = world.nodes[0].hop.peel(NOW, &packet) else {
        panic!("the first hop forwards");
    };
    for wrong in [0, 2] {
        assert_eq!(world.nodes[wrong].hop.peel(NOW, &moved).map(drop), Err(NotPeeled));
    }
    let exit = world.walk(world.nodes[1].id(), moved);
    assert_eq!(exit.payload, b"in order");
}

#[test]
fn cover_ends_where_it_is_dropped_or_known() {
    let mut world = World::new(7, 3);
    let path = world.path(&[0, 1, 2]);
    let id = ReturnId([6; 16]);
    for (cover, size) in [(Cover::Drop, Size::Bulk), (Cover::Loop { id }, Size::Small)] {
        let mut packet = Packet::cover(&mut world.rng, &path, size, cover);
        for index in [0, 1] {
            assert_eq!(packet.size(), size);
            let peeled = world.nodes[index].hop.peel(NOW, &packet);
            let Ok(Peeled::Forward { packet: moved, .. }) = peeled else {
                panic!("hop {index} forwards cover like anything else");
            };
            packet = moved;
        }
        match (cover, world.nodes[2].hop.peel(NOW, &packet)) {
            (Cover::Drop, Ok(Peeled::Drop)) => {}
            (Cover::Loop { id: sent }, Ok(Peeled::Loop { id: seen })) => assert_eq!(seen, sent),
            (_, other) => panic!("{cover:?} became {other:?}"),
        }
    }
}

//! What one hop does with a request, and what goes over its links: here, with the `sphinx-packet`
//! crate, and as the existing network's onion requests do it. Medians, all in one thread.

mod existing;

use std::hint::black_box;
use std::time::{Duration, Instant};

use session_core::{Epoch, SeededEntropy, Time};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_network::onion::{Hop, HopKey, Order, Packet, Path, Peeled, Service, Size};
use session_protocol::NetworkId;
use sphinx_packet::SphinxPacket;
use sphinx_packet::header::delays;
use sphinx_packet::packet::builder::SphinxPacketBuilder;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use x25519_dalek::{PublicKey, StaticSecret};

const HOPS: usize = 3;
const BODY: usize = 2_048;
const ROUNDS: usize = 4_000;

/// Returns the median in microseconds.
fn median(mut what: impl FnMut()) -> f64 {
    let time = |_| {
        let begun = Instant::now();
        what();
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..ROUNDS).map(time).collect();
    times.sort();
    times[ROUNDS / 2].as_secs_f64() * 1e6
}

fn ours(size: Size) {
    let mut rng = SeededEntropy::new(1);
    let (network, life) = (NetworkId::default(), (Time::ZERO, Time::from_millis(3_600_000)));
    let hop = |_| {
        let identity = FakeIdentity::generate(&mut rng);
        let mut hop = Hop::new(identity.public().node_id(), 1_000_000);
        let signed = hop.rotate(&mut rng, network, Epoch(1), life).sign(&identity, &mut rng);
        (hop, signed.verify(&network, identity.public(), &FakeVerifier).expect("just signed"))
    };
    let mut hops: Vec<(Hop, HopKey)> = (0..HOPS).map(hop).collect();
    let path = Path::new(hops.iter().map(|(_, key)| key.clone()).collect(), Time::ZERO);
    let path = path.expect("three nodes");
    let order = Order { size, service: Service(1), answer: size, payload: &[7; BODY] };
    let build = |rng: &mut SeededEntropy| Packet::build(rng, &path, &order).expect("it fits").0;
    let mut rng = SeededEntropy::new(2);
    let build_time = median(|| drop(black_box(build(&mut rng))));
    let packet = build(&mut rng);
    let opener = hops[0].0.opener();
    let hop_time = median(|| drop(black_box(opener.open(Time::ZERO, black_box(&packet)))));
    let Ok(Peeled::Forward { packet, .. }) = hops[0].0.peel(Time::ZERO, &packet) else {
        panic!("it is sent on")
    };
    let bytes = packet.as_bytes().len();
    println!(
        "| here, {size:?} | {build_time:.0} | {hop_time:.0} | {bytes} on each link | {bytes} |"
    );
}

fn sphinx(payload: usize) {
    let key = |_| {
        let secret = StaticSecret::random();
        let public = PublicKey::from(&secret);
        (secret, public)
    };
    let keys: Vec<_> = (0..HOPS).map(key).collect();
    let node = |(index, (_, public)): (usize, &(StaticSecret, PublicKey))| {
        Node::new(NodeAddressBytes::from_bytes([index as u8 + 1; 32]), *public)
    };
    let route: Vec<Node> = keys.iter().enumerate().map(node).collect();
    let delays = delays::generate_from_average_duration(HOPS, Duration::from_millis(10));
    let to = Destination::new(DestinationAddressBytes::from_bytes([3; 32]), [4; 16]);
    let build = || {
        let builder = SphinxPacketBuilder::new().with_payload_size(payload);
        builder.build_packet(vec![7; BODY], &route, &to, &delays).expect("it fits")
    };
    let build_time = median(|| drop(black_box(build())));
    let bytes = build().to_bytes();
    let hop_time = median(|| {
        let packet = SphinxPacket::from_bytes(black_box(&bytes)).expect("a packet");
        drop(black_box(packet.process(&keys[0].0).expect("it opens")));
    });
    let size = bytes.len();
    println!("| sphinx-packet 0.8.0 | {build_time:.0} | {hop_time:.0} | {size} on each link | |");
}

fn main() {
    println!("three hops, {BODY} bytes of body\n");
    println!(
        "| what | build µs | one hop µs | request bytes | answer bytes |\n|---|---|---|---|---|"
    );
    ours(Size::Small);
    ours(Size::Bulk);
    sphinx(8_192 - 348);
    sphinx(32_768 - 348);
    existing::run();
}

//! What an onion packet costs whoever makes it and each hop. `cargo bench -p session-network --bench onion`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use session_core::{Blob, Epoch, SeededEntropy, SwarmId, Text, Time};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Signer as _, XWingSecret};
use session_network::onion::{
    AnswerKey, BackKey, Handle, Hop, HopKey, Opener, Order, Packet, Path, Peeled, ReplyBlock,
    ReplyKeys, Service, Size, TAGS_MAX,
};
use session_protocol::onion::Onion;
use session_protocol::{Checker, Frame, Inbound, Kind, NetworkId, NodeRecord, StaticMembership};

const NOW: Time = Time::ZERO;

fn nodes(rng: &mut SeededEntropy, count: usize) -> Vec<(Hop, HopKey)> {
    let network = NetworkId::default();
    (0..count)
        .map(|_| {
            let identity = FakeIdentity::generate(rng);
            let mut hop = Hop::new(identity.public().node_id(), TAGS_MAX);
            let life = (NOW, Time::from_millis(3_600_000));
            let signed = hop.rotate(rng, network, Epoch(1), life).sign(&identity, rng);
            let key = signed.verify(&network, identity.public(), &FakeVerifier);
            (hop, key.expect("signed just now"))
        })
        .collect()
}

fn order(size: Size, payload: &[u8]) -> Order<'_> {
    Order { size, service: Service(1), answer: size, payload }
}

fn forwarded(hop: &mut Hop, packet: &Packet) -> (Packet, BackKey) {
    match hop.peel(NOW, packet) {
        Ok(Peeled::Forward { packet, back: Some(back), .. }) => (packet, back),
        other => panic!("not forwarded but {other:?}"),
    }
}

fn delivered(hop: &mut Hop, packet: &Packet) -> AnswerKey {
    match hop.peel(NOW, packet) {
        Ok(Peeled::Deliver { answer, .. }) => answer,
        other => panic!("not delivered but {other:?}"),
    }
}

fn requests(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(1);
    let nodes = nodes(&mut rng, 5);
    let path = |hops: usize| {
        Path::new(nodes[..hops].iter().map(|(_, key)| key.clone()).collect(), NOW).expect("valid")
    };
    let payload = [0x5a; 2048];
    use Size::{Bulk, Large, Small};
    for (hops, size) in [(1, Small), (3, Small), (5, Small), (3, Bulk), (3, Large)] {
        let path = path(hops);
        c.bench_function(&format!("onion/build {size:?}, {hops} hops"), |b| {
            b.iter(|| Packet::build(&mut rng, &path, &order(size, black_box(&payload))));
        });
    }
    for size in Size::ALL {
        let (packet, _) =
            Packet::build(&mut rng, &path(3), &order(size, &payload)).expect("it fits");
        let opener = nodes[0].0.opener();
        c.bench_function(&format!("onion/peel {size:?}"), |b| {
            b.iter(|| opener.open(NOW, black_box(&packet)));
        });
        let mut bytes = packet.into_bytes();
        *bytes.last_mut().expect("not empty") ^= 1;
        let altered = Packet::try_from(bytes).expect("still a packet");
        c.bench_function(&format!("onion/refuse an altered {size:?}"), |b| {
            b.iter(|| opener.open(NOW, black_box(&altered)));
        });
    }
}

/// Makes a request over two hops and carries it there.
fn asked(
    rng: &mut SeededEntropy,
    nodes: &mut [(Hop, HopKey)],
    size: Size,
) -> (ReplyKeys, BackKey, AnswerKey) {
    let path = Path::new(nodes.iter().map(|(_, key)| key.clone()).collect(), NOW).expect("valid");
    let (packet, keys) = Packet::build(rng, &path, &order(size, b"question")).expect("it fits");
    let (packet, back) = forwarded(&mut nodes[0].0, &packet);
    (keys, back, delivered(&mut nodes[1].0, &packet))
}

fn answers(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(2);
    let mut nodes = nodes(&mut rng, 2);
    for size in Size::ALL {
        c.bench_function(&format!("onion/seal an answer, {size:?}"), |b| {
            b.iter_batched(
                || asked(&mut rng, &mut nodes, size).2,
                |key| key.seal_reply(black_box(&[0x5a; 2048])).expect("it fits"),
                BatchSize::SmallInput,
            );
        });
        c.bench_function(&format!("onion/wrap an answer, {size:?}"), |b| {
            b.iter_batched(
                || {
                    let (_, back, key) = asked(&mut rng, &mut nodes, size);
                    (back, key.seal_reply(b"answer").expect("it fits"))
                },
                |(back, answer)| back.wrap_reply(&answer).expect("an answer"),
                BatchSize::SmallInput,
            );
        });
        c.bench_function(&format!("onion/open an answer over 2 hops, {size:?}"), |b| {
            b.iter_batched(
                || {
                    let (keys, back, key) = asked(&mut rng, &mut nodes, size);
                    let answer = key.seal_reply(b"answer").expect("it fits");
                    (keys, back.wrap_reply(&answer).expect("an answer"))
                },
                |(keys, answer)| keys.open(&answer).expect("it opens"),
                BatchSize::SmallInput,
            );
        });
    }
}

/// All that a node does with a frame that it passes on, but for the sockets: check, open, take,
/// remember how the answer goes back, encode.
fn relaying(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(5);
    let mut nodes = nodes(&mut rng, 3);
    let path = Path::new(nodes.iter().map(|(_, key)| key.clone()).collect(), NOW).expect("valid");
    let records = [NodeRecord {
        keys: FakeIdentity::new(&[1; 32]).public().clone(),
        address: Text::new("h:1").expect("short"),
        swarm: SwarmId(0),
    }];
    let membership = StaticMembership::new("bench", records).expect("one node");
    let checker = Checker::new(Arc::new(membership), Arc::new(FakeVerifier));
    let hop = &mut nodes[0].0;
    let opener = hop.opener();
    let mut circuits = BTreeMap::new();
    for size in Size::ALL {
        let mut group = c.benchmark_group("onion/relay");
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{size:?}"), |b| {
            b.iter_batched(
                || {
                    let order = order(size, b"question");
                    let (packet, _) = Packet::build(&mut rng, &path, &order).expect("it fits");
                    frame(1, packet)
                },
                |body| {
                    let Ok(Inbound::Onion(onion)) = checker.check(&body) else {
                        panic!("a packet is a packet")
                    };
                    let packet =
                        Packet::try_from(onion.packet.into_vec()).expect("its length is right");
                    match hop.admit(opener.open(NOW, &packet)) {
                        Ok(Peeled::Forward { next, packet, back, .. }) => {
                            let number = circuits.len() as u64;
                            circuits.insert((next, number), (onion.circuit, back));
                            frame(number, packet)
                        }
                        other => panic!("not forwarded but {other:?}"),
                    }
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

fn frame(circuit: u64, packet: Packet) -> Vec<u8> {
    let packet = Blob::new(packet.into_bytes()).expect("no longer than the longest");
    Frame::encode(Kind::Onion, &Onion { circuit, packet })
}

fn blocks(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(3);
    let nodes = nodes(&mut rng, 3);
    let path = Path::new(nodes.iter().map(|(_, key)| key.clone()).collect(), NOW).expect("valid");
    c.bench_function("onion/build a reply block, 3 hops", |b| {
        b.iter(|| ReplyBlock::build(&mut rng, &path, Handle([1; 32])));
    });
    let (block, _) = ReplyBlock::build(&mut rng, &path, Handle([1; 32])).expect("three hops");
    let (_, packet) = block.seal(Size::Small, b"answer").expect("it fits");
    let opener: &Opener = &nodes[0].0.opener();
    c.bench_function("onion/peel a returning Small", |b| {
        b.iter(|| opener.open(NOW, black_box(&packet)));
    });
}

/// What of all that is the encapsulation.
fn encapsulation(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(4);
    let secret = XWingSecret::from_seed(&[7; 32]);
    let public = secret.public();
    c.bench_function("x-wing/encapsulate", |b| {
        b.iter(|| black_box(&public).encapsulate(&mut rng));
    });
    let (ciphertext, _) = public.encapsulate(&mut rng);
    c.bench_function("x-wing/decapsulate", |b| {
        b.iter(|| secret.decapsulate(black_box(&ciphertext)));
    });
}

criterion_group!(benches, requests, answers, relaying, blocks, encapsulation);
criterion_main!(benches);

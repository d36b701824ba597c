//! Packets from outside are refused, true ones are taken once, altered ones nowhere.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use session_core::{Epoch, SeededEntropy, Time};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_network::onion::{
    Handle, Hop, HopKey, Order, Packet, Path, Peeled, ReplyBlock, Service, Size,
};
use session_protocol::NetworkId;

const NOW: Time = Time::ZERO;
/// Packets after which everything is made anew, so that nothing fills up.
const ROUNDS: usize = 1_000;

struct World {
    rng: SeededEntropy,
    nodes: Vec<(Hop, HopKey)>,
    rounds: usize,
}

impl World {
    fn new() -> Self {
        let mut rng = SeededEntropy::new(1);
        let nodes = (0..3).map(|_| node(&mut rng)).collect();
        Self { rng, nodes, rounds: 0 }
    }

    fn path(&self, hops: u8) -> Path {
        let count = 1 + usize::from(hops) % self.nodes.len();
        let keys = self.nodes[..count].iter().map(|(_, key)| key.clone()).collect();
        Path::new(keys, NOW).expect("different nodes")
    }
}

fn node(rng: &mut SeededEntropy) -> (Hop, HopKey) {
    let identity = FakeIdentity::generate(rng);
    let mut hop = Hop::new(identity.public().node_id(), 2 * ROUNDS);
    let network = NetworkId::default();
    let signed =
        hop.rotate(rng, network, Epoch(1), (NOW, Time::from_millis(1))).sign(&identity, rng);
    let key = signed.verify(&network, identity.public(), &FakeVerifier);
    (hop, key.expect("signed just now"))
}

fn size(byte: u8) -> Size {
    Size::ALL[usize::from(byte) % Size::ALL.len()]
}

/// Bytes from outside behind a prefix that is let in.
fn foreign(world: &mut World, [kind, which, hop]: [u8; 3], bytes: &[u8]) {
    drop(Packet::try_from(bytes.to_vec()));
    let mut packet = vec![1, 1 + kind % 4, 0, 0, 0, 0, 0, 0, 0, 1];
    packet.extend_from_slice(bytes);
    packet.resize(size(which).bytes(), kind);
    let packet = Packet::try_from(packet).expect("version, kind and size are right");
    let hop = usize::from(hop) % world.nodes.len();
    assert!(world.nodes[hop].0.peel(NOW, &packet).is_err());
}

/// Each four bytes change a byte of the packet that arrives at a hop; untouched it goes on.
fn request(world: &mut World, [hops, which, answer]: [u8; 3], changes: &[u8]) {
    let path = world.path(hops);
    let (size, answer_size) = (size(which), size(answer));
    let payload = &changes[..changes.len().min(size.payload_bytes_max(path.hops()))];
    let order = Order { size, service: Service(1), answer: answer_size, payload };
    let (mut packet, keys) = Packet::build(&mut world.rng, &path, &order).expect("it fits");
    let mut backs = Vec::new();
    for hop in 0..path.hops() {
        let altered = altered(&packet, hop, changes);
        if let Some(altered) = altered.filter(|altered| *altered != packet) {
            assert!(world.nodes[hop].0.peel(NOW, &altered).is_err(), "an altered packet was taken");
        }
        let again = packet.clone();
        match world.nodes[hop].0.peel(NOW, &packet).expect("untouched and new") {
            Peeled::Forward { packet: moved, back, .. } => {
                backs.push(back.expect("a request has an answer"));
                packet = moved;
            }
            Peeled::Deliver { payload: delivered, answer: key, .. } => {
                assert_eq!(delivered, payload);
                let content = &payload[..payload.len().min(answer_size.answer_bytes_max())];
                let mut answer = key.seal_reply(content).expect("it fits");
                for back in backs.drain(..).rev() {
                    answer = back.wrap_reply(&answer).expect("an answer");
                }
                let spoiled = altered_answer(&answer, changes);
                let opened = keys.open(&spoiled);
                assert_eq!(opened.as_deref().ok(), (spoiled == answer).then_some(content));
                return;
            }
            other => panic!("a request became {other:?}"),
        }
        assert!(world.nodes[hop].0.peel(NOW, &again).is_err(), "a packet was taken twice");
    }
}

/// The same for a packet that comes back by a reply block.
fn returning(world: &mut World, [hops, which, _]: [u8; 3], changes: &[u8]) {
    let path = world.path(hops);
    let (block, keys) =
        ReplyBlock::build(&mut world.rng, &path, Handle([7; 32])).expect("at most three hops");
    let size = size(which);
    let content = &changes[..changes.len().min(size.return_bytes_max())];
    let (first, mut packet) = block.seal(size, content).expect("it fits");
    assert_eq!(first, path.first());
    for hop in 0..path.hops() {
        let header = 10 + 3 * 1_200;
        let altered = altered(&packet, hop, changes);
        let altered =
            altered.filter(|altered| altered.as_bytes()[..header] != packet.as_bytes()[..header]);
        if let Some(altered) = altered {
            assert!(world.nodes[hop].0.peel(NOW, &altered).is_err(), "an altered header was taken");
        }
        match world.nodes[hop].0.peel(NOW, &packet).expect("untouched and new") {
            Peeled::Forward { packet: moved, .. } => packet = moved,
            Peeled::Hand { packet: handed, .. } => {
                let spoiled = altered_answer(&handed, changes);
                let opened = keys.open(&spoiled);
                assert_eq!(opened.as_deref().ok(), (spoiled == handed).then_some(content));
                return;
            }
            other => panic!("a returning packet became {other:?}"),
        }
    }
}

fn altered(packet: &Packet, hop: usize, changes: &[u8]) -> Option<Packet> {
    let mut bytes = packet.as_bytes().to_vec();
    for [at, high, low, change] in changes.as_chunks().0 {
        if usize::from(*at) % 3 == hop {
            let place = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
            bytes[place] ^= change;
        }
    }
    Packet::try_from(bytes).ok()
}

fn altered_answer(packet: &Packet, changes: &[u8]) -> Packet {
    altered(packet, 2, changes).unwrap_or_else(|| packet.clone())
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

fuzz_target!(|input: &[u8]| {
    let Some(([kind, choices @ ..], bytes)) = input.split_first_chunk::<4>() else { return };
    WORLD.with_borrow_mut(|world| {
        world.rounds += 1;
        if world.rounds > ROUNDS {
            *world = World::new();
        }
        match kind % 3 {
            0 => foreign(world, *choices, bytes),
            1 => request(world, *choices, bytes),
            _ => returning(world, *choices, bytes),
        }
    });
});

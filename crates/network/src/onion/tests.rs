//! A few nodes with real hop keys, and packets that are carried between them by hand.

mod altered;
mod blocks;
mod keys;
mod replays;
mod views;
mod walks;

use session_core::{Epoch, NodeId, SeededEntropy, Span, Time};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::NetworkId;

use super::geometry::{Kind, Prefix, REQUEST_HEADER};
use super::layer;
use super::routing::Command;
use super::{
    AnswerKey, BackKey, Hop, HopKey, Order, Packet, Path, Peeled, ReplyKeys, Service, Size,
};

const EPOCH: Epoch = Epoch(7);
const NOW: Time = Time::from_millis(1_000);
const UNTIL: Time = Time::from_millis(3_600_000);

fn network() -> NetworkId {
    session_protocol::membership::network_id("onion tests")
}

struct Node {
    identity: FakeIdentity,
    hop: Hop,
    key: HopKey,
}

impl Node {
    fn new(rng: &mut SeededEntropy, tags_max: usize) -> Self {
        let identity = FakeIdentity::generate(rng);
        let mut hop = Hop::new(identity.public().node_id(), tags_max);
        let key = rotated(rng, &identity, &mut hop, EPOCH, UNTIL);
        Self { identity, hop, key }
    }

    fn id(&self) -> NodeId {
        self.key.node()
    }

    fn rotate(&mut self, rng: &mut SeededEntropy, epoch: Epoch, until: Time) -> HopKey {
        rotated(rng, &self.identity, &mut self.hop, epoch, until)
    }
}

fn rotated(
    rng: &mut SeededEntropy,
    identity: &FakeIdentity,
    hop: &mut Hop,
    epoch: Epoch,
    until: Time,
) -> HopKey {
    let record = hop.rotate(rng, network(), epoch, (NOW, until));
    let signed = record.sign(identity, rng);
    signed.verify(&network(), identity.public(), &FakeVerifier).expect("it was signed just now")
}

/// Nodes, and the generator that everything of a test is drawn from.
struct World {
    rng: SeededEntropy,
    nodes: Vec<Node>,
}

/// What came out at the end of a path.
struct Exit {
    service: Service,
    delay: Span,
    payload: Vec<u8>,
    answer: AnswerKey,
    /// What the hops before the exit keep, the first one first.
    backs: Vec<BackKey>,
    /// The packet as it was on each link, the client's first.
    links: Vec<Packet>,
}

impl World {
    fn new(seed: u64, nodes: usize) -> Self {
        let mut rng = SeededEntropy::new(seed);
        let nodes = (0..nodes).map(|_| Node::new(&mut rng, 100)).collect();
        Self { rng, nodes }
    }

    fn path(&self, hops: &[usize]) -> Path {
        Path::new(hops.iter().map(|hop| self.nodes[*hop].key.clone()).collect(), NOW)
            .expect("different nodes with keys of one epoch")
    }

    /// Makes a request over the first nodes, one after another.
    fn request(&mut self, hops: usize, payload: &[u8]) -> (Packet, ReplyKeys) {
        let path = self.path(&(0..hops).collect::<Vec<_>>());
        Packet::build(&mut self.rng, &path, &order(payload)).expect("it fits")
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id() == id).expect("a node of this world")
    }

    /// Carries a request from hop to hop to its exit.
    fn walk(&mut self, first: NodeId, packet: Packet) -> Exit {
        let (mut at, mut links, mut backs) = (first, vec![packet], Vec::new());
        loop {
            let packet = links.last().expect("begun with one").clone();
            match self.node(at).hop.peel(NOW, &packet).expect("an honest packet") {
                Peeled::Forward { next, packet, back, .. } => {
                    at = next;
                    links.push(packet);
                    backs.extend(back);
                }
                Peeled::Deliver { service, delay, payload, answer } => {
                    return Exit { service, delay, payload, answer, backs, links };
                }
                other => panic!("a request became {other:?}"),
            }
        }
    }
}

fn order(payload: &[u8]) -> Order<'_> {
    Order { size: Size::Small, service: Service(1), answer: Size::Small, payload }
}

/// Carries an answer back to the client, which gets the last of these packets.
fn way_back(backs: Vec<BackKey>, answer: Packet) -> Vec<Packet> {
    let mut links = vec![answer];
    for back in backs.into_iter().rev() {
        let before = links.last().expect("begun with one");
        links.push(back.wrap_reply(before).expect("it is an answer"));
    }
    links
}

/// Makes what no honest client makes: any command at the end, and any content behind it.
fn crafted(world: &mut World, hops: &[usize], errand: Command, content: &[u8]) -> Packet {
    let path = world.path(hops);
    let prefix = Prefix { kind: Kind::Request, epoch: EPOCH };
    let size = (Size::Small.bytes(), REQUEST_HEADER);
    let (bytes, _) = layer::wrap(&mut world.rng, prefix, size, (path.steps(), errand), content);
    Packet::try_from(bytes).expect("the right size")
}

/// Changes a byte, which may make something that is no packet any more.
fn flipped(packet: &Packet, place: usize) -> Option<Packet> {
    let mut bytes = packet.as_bytes().to_vec();
    bytes[place] ^= 1 << (place % 8);
    Packet::try_from(bytes).ok()
}

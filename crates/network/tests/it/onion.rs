//! The packets of `vectors/onion.json`, made and taken apart again.
//!
//! Entropy of a case is the ChaCha20 key stream of its seed (nonce and counter zero), drawn in the
//! order of `docs/wire/onion.md`. Packets stand there as SHA-256.

use serde_json::{Value, json};
use session_core::{Encode as _, Entropy, Epoch, SeededEntropy, Span, Time, sha256};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Signer as _, XWingCiphertext, XWingSecret};
use session_network::onion::{
    Handle, Hop, HopKey, Order, Packet, Path, Peeled, ReplyBlock, Service, Size, TAGS_MAX,
};
use session_protocol::NetworkId;

const VECTORS: &str = include_str!("../../../../vectors/onion.json");
const EPOCH: Epoch = Epoch(0x0102_0304);

/// Gives a node the secret of the case.
struct Fixed([u8; 32]);

impl Entropy for Fixed {
    fn fill(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0[..out.len()]);
    }
}

struct Node {
    secret: [u8; 32],
    hop: Hop,
    key: HopKey,
}

fn nodes() -> Vec<Node> {
    (1..=5_u8)
        .map(|number| {
            let secret = [number; 32];
            let identity = FakeIdentity::new(&[0xf0 | number; 32]);
            let mut hop = Hop::new(identity.public().node_id(), TAGS_MAX);
            let network = NetworkId::default();
            let life = (Time::ZERO, Time::from_millis(1));
            let record = hop.rotate(&mut Fixed(secret), network, EPOCH, life);
            let signed = record.sign(&identity, &mut SeededEntropy::new(0));
            let key = signed.verify(&network, identity.public(), &FakeVerifier).unwrap();
            Node { secret, hop, key }
        })
        .collect()
}

fn path(nodes: &[Node]) -> Path {
    let delays: Vec<_> = (1..=nodes.len() as u64).map(|hop| Span::from_millis(hop * 100)).collect();
    let keys = nodes.iter().map(|node| node.key.clone()).collect();
    Path::new(keys, Time::ZERO).unwrap().with_delays(&delays).unwrap()
}

fn payload(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

fn sum(packet: &Packet) -> String {
    hex::encode(sha256(packet.as_bytes()))
}

/// What a hop finds in its ciphertext.
fn shared(node: &Node, packet: &Packet) -> String {
    let ciphertext = XWingCiphertext::try_from(&packet.as_bytes()[10..1130]).unwrap();
    hex::encode(XWingSecret::from_seed(&node.secret).decapsulate(&ciphertext).expose())
}

fn request(hops: usize, size: Size, answer: Size, length: usize) -> Value {
    let mut nodes = nodes();
    nodes.truncate(hops);
    let seed = [0x40 + u8::try_from(hops).unwrap(); 32];
    let (payload, content) = (payload(length), b"answer".as_slice());
    let order = Order { size, service: Service(0x0a0b), answer, payload: &payload };
    let mut rng = SeededEntropy::from_bytes(seed);
    let (mut packet, keys) = Packet::build(&mut rng, &path(&nodes), &order).unwrap();
    let (mut links, mut secrets, mut backs, mut sealed) = (vec![], vec![], vec![], None);
    for (index, node) in nodes.iter_mut().enumerate() {
        links.push(sum(&packet));
        secrets.push(shared(node, &packet));
        match node.hop.peel(Time::ZERO, &packet).unwrap() {
            Peeled::Forward { packet: moved, back: Some(back), delay, .. } => {
                assert_eq!(delay, Span::from_millis(100 * (index as u64 + 1)));
                packet = moved;
                backs.push(back);
            }
            Peeled::Deliver { payload: delivered, answer, service: Service(0x0a0b), .. } => {
                assert_eq!(delivered, payload);
                sealed = Some(answer.seal_reply(content).unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    let mut answer = sealed.unwrap();
    let mut answers = vec![sum(&answer)];
    for back in backs.into_iter().rev() {
        answer = back.wrap_reply(&answer).unwrap();
        answers.push(sum(&answer));
    }
    assert_eq!(keys.open(&answer).unwrap(), content);
    json!({
        "kind": "request", "hops": hops, "entropy": hex::encode(seed),
        "bytes": size.bytes(), "answer_bytes": answer.as_bytes().len(), "payload_bytes": length,
        "shared": secrets, "links": links, "answers": answers,
    })
}

fn block(hops: usize, size: Size, length: usize) -> Value {
    let mut nodes = nodes();
    nodes.truncate(hops);
    let seed = [0x50 + u8::try_from(hops).unwrap(); 32];
    let mut rng = SeededEntropy::from_bytes(seed);
    let (block, keys) = ReplyBlock::build(&mut rng, &path(&nodes), Handle([0x99; 32])).unwrap();
    let (id, content) = (hex::encode(keys.id().0), payload(length));
    let encoded = hex::encode(sha256(&block.to_bytes()));
    let (_, mut packet) = block.seal(size, &content).unwrap();
    let (mut links, mut secrets) = (vec![sum(&packet)], vec![]);
    for node in &mut nodes {
        secrets.push(shared(node, &packet));
        packet = match node.hop.peel(Time::ZERO, &packet).unwrap() {
            Peeled::Forward { packet, .. } => packet,
            Peeled::Hand { packet, handle: Handle([0x99, ..]), .. } => packet,
            other => panic!("{other:?}"),
        };
        links.push(sum(&packet));
    }
    assert_eq!(keys.open(&packet).unwrap(), content);
    json!({
        "kind": "block", "hops": hops, "entropy": hex::encode(seed), "id": id, "block": encoded,
        "bytes": size.bytes(), "content_bytes": length, "shared": secrets, "links": links,
    })
}

#[test]
fn packets_are_those_of_the_vectors() {
    let nodes: Vec<_> = nodes()
        .iter()
        .map(
            |node| json!({"node": node.key.node().to_string(), "secret": hex::encode(node.secret)}),
        )
        .collect();
    let actual = json!({
        "epoch": EPOCH.0, "nodes": nodes, "handle": hex::encode([0x99; 32]),
        "service": 0x0a0b, "answer": "answer",
        "cases": [
            request(1, Size::Small, Size::Small, 0),
            request(3, Size::Small, Size::Bulk, 2_048),
            request(5, Size::Bulk, Size::Small, 26_754),
            request(4, Size::Large, Size::Large, 93_490),
            block(1, Size::Bulk, 0),
            block(3, Size::Small, 4_562),
            block(2, Size::Large, 94_674),
        ],
    });
    let expected: Value = serde_json::from_str(VECTORS).expect("the vectors are JSON");
    let text = serde_json::to_string_pretty(&actual).expect("values are printable");
    assert_eq!(actual, expected, "packets have changed; as they are now:\n{text}");
}

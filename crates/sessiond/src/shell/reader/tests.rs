use session_core::{Blob, Epoch, Span, SwarmId, Text};
use session_crypto::{Identity, RealVerifier};
use session_network::onion::{Hop, HopKey, Order, Packet, Path, Service, Size};
use session_protocol::onion::{Onion, service};
use session_protocol::{Frame, Inbound, Kind, Membership as _, NodeRecord, StaticMembership};
use session_runtime::OsEntropy;

use super::*;

const SHARE: Rate = Rate { per_second: 0, burst: 12 };

/// A reader that knows the keys of a hop, and the key to make packets with.
fn hop() -> (Reader, HopKey) {
    let identity = Identity::from_seed(&[1; 32]);
    let keys = identity.public().clone();
    let address = Text::new("127.0.0.1:1").unwrap();
    let record = NodeRecord { keys: keys.clone(), address, swarm: SwarmId(0) };
    let membership = Arc::new(StaticMembership::new("test", [record]).unwrap());
    let network = membership.network();
    let checker = Arc::new(Checker::new(membership, Arc::new(RealVerifier)));
    let clock = Arc::new(SystemClock::new());
    let (mut hop, mut rng) = (Hop::new(keys.node_id(), 100), OsEntropy::new().unwrap());
    let life = (clock.now(), clock.now() + Span::from_secs(3_600));
    let signed = hop.rotate(&mut rng, network, Epoch(1), life).sign(&identity, &mut rng);
    let key = signed.verify(&network, &keys, &RealVerifier).unwrap();
    let reader = Reader::new(checker, clock, SHARE);
    reader.open_with(hop.opener());
    (reader, key)
}

fn frame(packet: Packet) -> Vec<u8> {
    let packet = Blob::new(packet.into_bytes()).unwrap();
    Frame::encode(Kind::Onion, &Onion { circuit: 5, packet })
}

fn request(reader: &Reader, key: &HopKey, size: Size) -> Vec<u8> {
    let path = Path::new(vec![key.clone()], reader.clock.now()).unwrap();
    let order = Order { size, service: Service(service::ECHO), answer: size, payload: b"" };
    frame(Packet::build(&mut OsEntropy::new().unwrap(), &path, &order).unwrap().0)
}

#[test]
fn what_a_connection_has_not_paid_for_is_not_opened() {
    let (reader, key) = hop();
    let small = request(&reader, &key, Size::Small);
    let opened = |conn: u64, frame: &[u8]| {
        let heard = reader.read(conn, frame);
        assert!(matches!(&heard.frame, Ok(Inbound::Onion(onion)) if onion.circuit == 5));
        heard.packet.is_some()
    };
    let count = |conn: u64| (0..40).filter(|_| opened(conn, &small)).count();
    assert_eq!(count(1), 12);
    // Each connection has its own share, and a large packet takes all of it.
    assert!(opened(2, &request(&reader, &key, Size::Large)));
    assert!(!opened(2, &small));
    // A node has another one.
    reader.set_rate(1_u64, Rate { burst: 30, ..SHARE });
    assert_eq!(count(1), 30);
    // What is forgotten takes no room.
    [1_u64, 2].into_iter().for_each(|conn| reader.forget(conn));
    assert!(reader.shares().is_empty());

    // Nothing is opened of an answer: the machine gets it in any case, and counts it.
    assert_eq!(count(3), 12);
    let mut answer = small.clone();
    let kind = answer.len() - Size::Small.bytes() + 1;
    answer[kind] = 3;
    let heard = reader.read(3_u64, &answer);
    let Ok(Inbound::Onion(Onion { packet, .. })) = heard.frame else { panic!("a packet") };
    assert_eq!(packet.len(), Size::Small.bytes());
}

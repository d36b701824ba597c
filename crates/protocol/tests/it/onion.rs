//! Golden bytes around onion packets, and which hop keys are let in.

use std::sync::Arc;

use session_core::{DecodeError, Encode as _, Epoch, SeededEntropy, Span, SwarmId};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{BadSignature, Signer as _, XWingPublicKey};
use session_protocol::frame::BadFrame;
use session_protocol::inbound::Fault;
use session_protocol::membership::{NetworkId, NodeRecord, StaticMembership};
use session_protocol::onion::{
    BUCKETS, BadHopKey, ExitAnswer, HOP_KEYS_MAX, HopKeyRecord, HopKeys, Onion, PACKET_BYTES_MAX,
    SignedHopKey, WAIT_MAX, Wait,
};
use session_protocol::request::{Operation, Outcome, Reply, Request};
use session_protocol::{Checker, Frame, Inbound, Kind};

use crate::codec::{check, flag, limit, tags};
use crate::values::{blob, list, node, signature, text, time};

fn record() -> HopKeyRecord {
    let key = [[0x11; 1184].as_slice(), &[0x44; 32]].concat();
    HopKeyRecord {
        version: 1,
        network: NetworkId::from([0x66; 32]),
        node: node(),
        epoch: Epoch(7),
        from: time(1),
        until: time(2),
        key: XWingPublicKey::try_from(&key[..]).expect("every coefficient is 0x111"),
    }
}

fn signed() -> SignedHopKey {
    SignedHopKey { record: record(), signature: signature() }
}

const RECORD: &str = "01 66*32 0a*32 0000000000000007 0000000000000001 0000000000000002
    11*1184 44*32";

#[test]
fn keys() {
    check(&record(), RECORD);
    check(&signed(), &format!("{RECORD} 33*3309"));
    check(&HopKeys::Keys { keys: list([signed()]) }, &format!("01 00000001 {RECORD} 33*3309"));
    limit::<HopKeys>("01", HOP_KEYS_MAX);
    check(&HopKeys::Have { sums: list([7, 8]) }, "02 00000002 0000000000000007 0000000000000008");
    limit::<HopKeys>("02", BUCKETS);
    check(&HopKeys::Want { buckets: list([7, 255]) }, "03 00000002 07 ff");
    limit::<HopKeys>("03", BUCKETS);
    tags::<HopKeys>("", 3);
    check(
        &Outcome::HopKeys { keys: list([signed()]), more: true },
        &format!("0a 00000001 {RECORD} 33*3309 01"),
    );
    limit::<Outcome>("0a", HOP_KEYS_MAX);
    flag::<Outcome>("0a 00000000");
}

#[test]
fn packets() {
    let onion = Onion { circuit: 7, packet: blob(&[0x99; 3]) };
    check(&onion, "0000000000000007 00000003 99*3");
    limit::<Onion>("00*8", PACKET_BYTES_MAX);
}

#[test]
fn what_exits_are_asked_and_answer() {
    let request = Request { id: 7, operations: list([Operation::Info]) };
    check(
        &Wait { wait: Span::from_secs(60), request },
        "000000000000ea60 # wait
         0000000000000007 00000001 05",
    );
    assert_eq!(WAIT_MAX, Span::from_secs(60));
    let reply = Reply { id: 1, server_time: time(2), roots: list([]), outcomes: list([]) };
    check(&ExitAnswer::Reply { reply }, "01 0000000000000001 0000000000000002 00*8");
    check(&ExitAnswer::TooLarge { bytes: 9 }, "02 00000009");
    check(&ExitAnswer::NoService, "03");
    check(&ExitAnswer::Malformed, "04");
    check(&ExitAnswer::Busy, "05");
    tags::<ExitAnswer>("", 5);
}

#[test]
fn a_packet_has_one_of_three_lengths() {
    let checker = checker();
    let body =
        |length| Frame::encode(Kind::Onion, &Onion { circuit: 1, packet: blob(&vec![0; length]) });
    for length in [8_192, 32_768, 98_304] {
        let onion = Onion { circuit: 1, packet: blob(&vec![0; length]) };
        assert_eq!(checker.check(&body(length)), Ok(Inbound::Onion(onion)));
        for other in [length - 1, length + 1].into_iter().filter(|other| *other <= 98_304) {
            let source = DecodeError::Invalid { field: "Onion::packet", why: "no size of packets" };
            let fault = BadFrame::Payload { kind: Kind::Onion, source };
            assert_eq!(checker.check(&body(other)), Err(Fault::Frame(fault)));
        }
    }
}

fn member() -> FakeIdentity {
    FakeIdentity::new(&[1; 32])
}

fn checker() -> Checker {
    let keys = member().public().clone();
    let record = NodeRecord { keys, address: text("h:1"), swarm: SwarmId(0) };
    let network = StaticMembership::new("test", [record]).expect("one node");
    Checker::new(Arc::new(network), Arc::new(FakeVerifier))
}

fn published(checker: &Checker, identity: &FakeIdentity) -> SignedHopKey {
    let (network, node) = (checker.membership().network(), identity.public().node_id());
    let record = HopKeyRecord { network, node, ..record() };
    record.sign(identity, &mut SeededEntropy::new(1))
}

fn let_in(checker: &Checker, keys: Vec<SignedHopKey>) -> Result<Vec<SignedHopKey>, Fault> {
    match checker.check(&Frame::encode(Kind::HopKeys, &HopKeys::Keys { keys: list(keys) }))? {
        Inbound::HopKeys(checked) => match checked.into_inner() {
            HopKeys::Keys { keys } => Ok(keys.into_vec()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_that_their_nodes_published_are_let_in_and_strangers_left_out() {
    let checker = checker();
    let own = published(&checker, &member());
    let stranger = published(&checker, &FakeIdentity::new(&[2; 32]));
    assert_eq!(let_in(&checker, vec![stranger, own.clone()]), Ok(vec![own]));
}

#[test]
fn an_altered_key_is_a_fault_also_after_the_true_one() {
    let checker = checker();
    let own = published(&checker, &member());
    let mut altered = own.clone();
    altered.record.until = time(3);
    let bad = Err(Fault::HopKey(BadHopKey::Signature(BadSignature)));
    assert_eq!(let_in(&checker, vec![altered.clone()]), bad);
    for _ in 0..2 {
        assert_eq!(let_in(&checker, vec![own.clone()]), Ok(vec![own.clone()]));
    }
    assert_eq!(let_in(&checker, vec![own.clone(), altered]), bad);
    // Altered where the key of the table would not see it, if that left something out.
    let mut forged = own;
    forged.signature = signature();
    assert_eq!(let_in(&checker, vec![forged]), bad);
}

#[test]
fn the_longest_message_of_hop_keys_fits_a_frame() {
    let keys = HopKeys::Keys { keys: list(vec![signed(); HOP_KEYS_MAX]) };
    assert_eq!(keys.to_bytes().len(), 5 + HOP_KEYS_MAX * 4_614);
    assert!(let_in(&checker(), vec![]).is_ok());
    Frame::split(&Frame::encode(Kind::HopKeys, &keys)).expect("within the bound of frames");
}

//! Transactions, blocks, certificates and seals of the coordination chain.

use session_core::{ChainId, Decode as _, Encode as _, Epoch, List, SeededEntropy};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{DsaPublicKey, Identity, RealVerifier, Signer};
use session_protocol::chain::amount::ParseAmountError;
use session_protocol::chain::block::{BadBlock, Sealed, block_id};
use session_protocol::chain::certificate::{
    BadCertificate, committee_digest, failure_root, outcome_root,
};
use session_protocol::chain::transaction::{BadTransaction, Possession};
use session_protocol::chain::{
    Action, Amount, Block, Certificate, ReceivedTransaction, SealedBlock, SessionEnd,
    SignedTransaction, Transaction,
};

use crate::codec::check;
use crate::values::{blob, keys, list, proof, signature, text, time};

fn chain() -> ChainId {
    [0xc1; 32].into()
}

fn transaction(action: Action) -> Transaction {
    Transaction {
        version: 1,
        chain: chain(),
        sender: [0x07; 32].into(),
        nonce: 2,
        fee_max: Amount(3),
        expires: time(4),
        action,
    }
}

const HEAD: &str = "
    01               # version
    c1*32            # chain
    07*32            # sender
    0000000000000002 # nonce
    0000000000000003 # fee
    0000000000000004 # expires
";

#[test]
fn golden_transactions() {
    let certificate = Certificate { signers: 1, signatures: list([signature()]) };
    let node = [0x0a; 32].into();
    let session = [0x0e; 32].into();
    for (action, golden) in [
        (Action::Transfer { to: [8; 32].into(), amount: Amount(5) }, "01 08*32 0000000000000005"),
        (
            Action::RegisterServiceNode {
                keys: keys(),
                endpoint: text("h:1"),
                stake: Amount(6),
                possession: signature(),
            },
            "02 11*1184 22*1952 00000003 683a31 0000000000000006 33*3309",
        ),
        (
            Action::RotateNodeKeys { node, keys: keys(), possession: signature() },
            "03 0a*32 11*1184 22*1952 33*3309",
        ),
        (Action::Decommission { node }, "04 0a*32"),
        (Action::Withdraw { node }, "05 0a*32"),
        (
            Action::CreateSession {
                service: [1; 32].into(),
                program: [2; 32].into(),
                input: [3; 32].into(),
                time_max: session_core::Span::from_millis(9),
            },
            "06 01*32 02*32 03*32 0000000000000009",
        ),
        (Action::StartSession { session }, "07 0e*32"),
        (
            Action::FinalizeSession {
                session,
                output: [1; 32].into(),
                oracle_root: [2; 32].into(),
                receipts_root: [3; 32].into(),
                certificate: certificate.clone(),
            },
            "08 0e*32 01*32 02*32 03*32 00000001 00000001 33*3309",
        ),
        (
            Action::FailSession { session, reason: text("no"), certificate: Some(certificate) },
            "09 0e*32 00000002 6e6f 01 00000001 00000001 33*3309",
        ),
        (
            Action::OpenConversation {
                participants_root: [4; 32].into(),
                participants: 2,
                ttl: session_core::Span::from_millis(9),
            },
            "0a 04*32 0002 0000000000000009",
        ),
        (
            Action::CloseConversation {
                conversation: [5; 32].into(),
                salt: [6; 32],
                proof: proof(),
            },
            "0b 05*32 06*32 0000000000000001 0000000000000002 00000001 55*32",
        ),
        (Action::CreateChannel { name: text("ab") }, "0c 00000002 6162"),
        (Action::JoinChannel { channel: [7; 32].into() }, "0d 07*32"),
        (Action::LeaveChannel { channel: [7; 32].into() }, "0e 07*32"),
    ] {
        let signed = SignedTransaction {
            transaction: transaction(action),
            keys: None,
            signature: signature(),
        };
        check(&signed, &format!("{HEAD} {golden}\n 00 33*3309 # no keys, signature"));
    }
}

#[test]
fn golden_blocks() {
    let block = Block {
        version: 1,
        chain: chain(),
        parent: [2; 32].into(),
        height: 3,
        time: time(4),
        state_root: [5; 32].into(),
        transactions: list([blob(b"tx")]),
    };
    let golden = "01 c1*32 02*32 0000000000000003 0000000000000004 05*32 00000001 00000002 7478";
    check(&block, golden);
    check(
        &Sealed { chain: chain(), height: 3, block: [2; 32].into() },
        "c1*32 0000000000000003 02*32",
    );
    check(&SealedBlock { block: blob(b"b"), seal: signature() }, "00000001 62 33*3309");
    check(
        &Possession {
            chain: chain(),
            operator: [7; 32].into(),
            node: [8; 32].into(),
            endpoint: text("h:1"),
        },
        "c1*32 07*32 08*32 00000003 683a31",
    );
    let bytes = block.to_bytes();
    assert_eq!(block.id(), block_id(&bytes));
    assert_eq!(Block::parse(&bytes, &chain()), Ok(block));
}

#[test]
fn blocks_of_others_are_refused() {
    let block = Block {
        version: 1,
        chain: chain(),
        parent: [2; 32].into(),
        height: 3,
        time: time(4),
        state_root: [5; 32].into(),
        transactions: List::default(),
    };
    let mut bytes = block.to_bytes();
    let other = ChainId::from([9; 32]);
    let error = Block::parse(&bytes, &other).unwrap_err();
    assert_eq!(error, BadBlock::Chain { got: chain(), chain: other });
    bytes[0] = 2;
    assert_eq!(Block::parse(&bytes, &chain()), Err(BadBlock::Version { got: 2 }));
    let long = vec![1; 2 * 1024 * 1024 + 1];
    assert_eq!(Block::parse(&long, &chain()), Err(BadBlock::TooLarge { got: 2_097_153 }));
    assert!(matches!(Block::parse(&[], &chain()), Err(BadBlock::Malformed(_))));
}

#[test]
fn amounts_are_decimal_lux() {
    for (text, units) in [
        ("0", 0),
        ("100", 100_000_000),
        ("0.5", 500_000),
        ("0.000001", 1),
        ("18446744073709.551615", u64::MAX),
    ] {
        assert_eq!(text.parse(), Ok(Amount(units)));
        assert_eq!(Amount(units).to_string(), text);
    }
    for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "18446744073709.551616", " 1"]
    {
        assert_eq!(bad.parse::<Amount>(), Err(ParseAmountError), "{bad:?}");
    }
}

fn signed_by(signer: &dyn Signer, with_keys: bool) -> SignedTransaction {
    let mut transaction = transaction(Action::Transfer { to: [8; 32].into(), amount: Amount(5) });
    transaction.sender = signer.public().account_id();
    transaction.sign(signer, with_keys, &mut SeededEntropy::new(1))
}

#[test]
fn only_the_sender_can_sign_its_transactions() {
    let (alice, bob) = (FakeIdentity::new(&[1; 32]), FakeIdentity::new(&[2; 32]));
    let (alice_id, bob_id) = (alice.public().account_id(), bob.public().account_id());
    let received = |signed: &SignedTransaction| {
        ReceivedTransaction::parse(&signed.to_bytes()).expect("it is one")
    };
    let check = |signed: &SignedTransaction, known| {
        received(signed).check(&chain(), known, &FakeVerifier).map(|verified| verified.id)
    };
    let good = signed_by(&alice, true);
    assert_eq!(check(&good, None), Ok(good.transaction.id()));
    let bare = signed_by(&alice, false);
    assert_eq!(bare.transaction.id(), good.transaction.id(), "keys are outside the id");
    assert_eq!(check(&bare, Some(alice.public())), Ok(good.transaction.id()));
    assert_eq!(check(&bare, None), Err(BadTransaction::KeysMissing { sender: alice_id }));

    let others_keys = SignedTransaction { keys: Some(bob.public().clone()), ..good.clone() };
    let expected = BadTransaction::Keys { derived: bob_id, sender: alice_id };
    assert_eq!(check(&others_keys, None), Err(expected));
    let mut raised = good.clone();
    raised.transaction.action = Action::Transfer { to: bob_id, amount: Amount(6) };
    assert_eq!(check(&raised, None), Err(BadTransaction::Signature { sender: alice_id }));
    let elsewhere = ChainId::from([3; 32]);
    let error = received(&good).check(&elsewhere, None, &FakeVerifier).unwrap_err();
    assert_eq!(error, BadTransaction::Chain { got: chain(), chain: elsewhere });
}

#[test]
fn transactions_are_bounded_and_versioned() {
    let mut bytes = signed_by(&FakeIdentity::new(&[1; 32]), true).to_bytes();
    bytes[0] = 7;
    assert_eq!(ReceivedTransaction::parse(&bytes), Err(BadTransaction::Version { got: 7 }));
    let error = ReceivedTransaction::parse(&vec![1; 65_537]).unwrap_err();
    assert_eq!(error, BadTransaction::TooLarge { got: 65_537 });
    assert!(matches!(ReceivedTransaction::parse(&[]), Err(BadTransaction::Malformed(_))));
}

#[test]
fn a_node_must_have_signed_that_it_holds_its_keys() {
    let operator = FakeIdentity::new(&[1; 32]);
    let (node, stranger) = (FakeIdentity::new(&[2; 32]), FakeIdentity::new(&[3; 32]));
    let rng = &mut SeededEntropy::new(1);
    let possession = Possession {
        chain: chain(),
        operator: operator.public().account_id(),
        node: node.public().node_id(),
        endpoint: text("h:1"),
    };
    let with = |possession| {
        let mut transaction = transaction(Action::RegisterServiceNode {
            keys: node.public().clone(),
            endpoint: text("h:1"),
            stake: Amount::lux(100),
            possession,
        });
        transaction.sender = operator.public().account_id();
        let signed = transaction.sign(&operator, true, &mut SeededEntropy::new(2));
        let received = ReceivedTransaction::parse(&signed.to_bytes()).unwrap();
        received.check(&chain(), None, &FakeVerifier).map(|_| ())
    };
    assert_eq!(with(possession.sign(&node, rng)), Ok(()));
    let refused = Err(BadTransaction::Possession { node: node.public().node_id() });
    assert_eq!(with(possession.sign(&stranger, rng)), refused);
    let elsewhere = Possession { endpoint: text("h:2"), ..possession };
    assert_eq!(with(elsewhere.sign(&node, rng)), refused);
}

#[test]
fn real_signatures_cover_transactions_and_seals() {
    let rng = &mut SeededEntropy::new(5);
    let identity = Identity::generate(rng);
    let signed = signed_by(&identity, true);
    let received = ReceivedTransaction::parse(&signed.to_bytes()).unwrap();
    assert!(received.check(&chain(), None, &RealVerifier).is_ok());
    let sealed = Sealed { chain: chain(), height: 3, block: [2; 32].into() };
    let seal = sealed.sign(&identity, rng);
    assert!(sealed.verify(identity.public().dsa(), &seal, &RealVerifier).is_ok());
    let other = Sealed { height: 4, ..sealed };
    assert!(other.verify(identity.public().dsa(), &seal, &RealVerifier).is_err());
}

/// A committee of seven, its keys, and a session's end that they attest.
struct Committee {
    members: Vec<FakeIdentity>,
    end: SessionEnd,
}

impl Committee {
    fn new() -> Self {
        let members: Vec<_> = (0..7).map(|n| FakeIdentity::new(&[n; 32])).collect();
        let ids: Vec<_> = members.iter().map(|member| member.public().node_id()).collect();
        let end = SessionEnd {
            chain: chain(),
            committee: committee_digest(&ids),
            session: [4; 32].into(),
            epoch: Epoch(5),
            root: outcome_root(&[1; 32].into(), &[2; 32].into(), &[3; 32].into()),
        };
        Self { members, end }
    }

    fn keys(&self) -> Vec<DsaPublicKey> {
        self.members.iter().map(|member| member.public().dsa().clone()).collect()
    }

    fn certificate(&self, signers: &[usize]) -> Certificate {
        let rng = &mut SeededEntropy::new(1);
        let signatures: Vec<_> =
            signers.iter().map(|&n| self.end.sign(&self.members[n], rng)).collect();
        let signers = signers.iter().fold(0, |bits, n| bits | 1 << n);
        Certificate { signers, signatures: list(signatures) }
    }

    fn verify(&self, certificate: &Certificate) -> Result<(), BadCertificate> {
        self.end.verify(certificate, &self.keys(), &FakeVerifier)
    }
}

#[test]
fn a_quorum_of_the_committee_makes_a_certificate() {
    let committee = Committee::new();
    assert_eq!(committee.verify(&committee.certificate(&[0, 2, 3, 5, 6])), Ok(()));
    let few = committee.certificate(&[0, 2, 3, 5]);
    let expected = BadCertificate::NoQuorum { got: 4, needed: 5, members: 7 };
    assert_eq!(committee.verify(&few), Err(expected));
    let none = Certificate { signers: 0, signatures: list([]) };
    let expected = BadCertificate::NoQuorum { got: 0, needed: 5, members: 7 };
    assert_eq!(committee.verify(&none), Err(expected));
}

#[test]
fn certificates_that_contradict_themselves_are_refused() {
    let committee = Committee::new();
    let good = committee.certificate(&[0, 1, 2, 3, 4]);
    let stranger = Certificate { signers: 1 << 7 | 0b1111, ..good.clone() };
    let expected = BadCertificate::NoSuchMember { member: 7, members: 7 };
    assert_eq!(committee.verify(&stranger), Err(expected));
    let more = Certificate { signers: 0b11_1111, ..good.clone() };
    assert_eq!(committee.verify(&more), Err(BadCertificate::Count { named: 6, signatures: 5 }));
    let swapped = Certificate { signers: 0b10_1111, ..good.clone() };
    assert_eq!(committee.verify(&swapped), Err(BadCertificate::Signature { member: 5 }));
    let one = good.signatures[0].clone();
    let repeated = Certificate { signers: 0b1_1111, signatures: list(vec![one; 5]) };
    assert_eq!(committee.verify(&repeated), Err(BadCertificate::Signature { member: 1 }));
    assert_eq!(
        committee.end.verify(&good, &[], &FakeVerifier),
        Err(BadCertificate::NoSuchMember { member: 4, members: 0 })
    );
    let nobody = Certificate { signers: 0, signatures: list([]) };
    let error = committee.end.verify(&nobody, &[], &FakeVerifier).unwrap_err();
    assert!(matches!(error, BadCertificate::NoQuorum { .. }), "{error}");
}

#[test]
fn a_certificate_means_nothing_elsewhere() {
    let committee = Committee::new();
    let good = committee.certificate(&[0, 1, 2, 3, 4]);
    let end = committee.end;
    for other in [
        SessionEnd { chain: [9; 32].into(), ..end },
        SessionEnd { committee: [9; 32].into(), ..end },
        SessionEnd { session: [9; 32].into(), ..end },
        SessionEnd { epoch: Epoch(6), ..end },
        SessionEnd { root: failure_root("deadline"), ..end },
    ] {
        let verified = other.verify(&good, &committee.keys(), &FakeVerifier);
        assert_eq!(verified, Err(BadCertificate::Signature { member: 0 }), "{other:?}");
    }
}

#[test]
fn reserved_actions_are_not_known_yet() {
    for tag in [0, 15, 32, 33, 34, 35, 255] {
        assert!(Action::decode_exact(&[tag]).is_err(), "{tag}");
    }
}

//! Transactions, blocks, certificates and seals of the coordination chain.

use session_core::merkle::Proof;
use session_core::{ChainId, Decode as _, DecodeError, Encode as _, Epoch, List, SeededEntropy};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Identity, RealVerifier, Signer};
use session_protocol::attestation::{QuorumCertificate, Vote};
use session_protocol::beacon::{BeaconKey, Dealing, Reveal, Share};
use session_protocol::chain::amount::ParseAmountError;
use session_protocol::chain::block::{BadBlock, Sealed, block_id};
use session_protocol::chain::transaction::{
    BadTransaction, Possession, PostedShare, TRANSACTION_BYTES_MAX, bit, bitmap, fits,
};
use session_protocol::chain::{
    Action, Amount, Block, ReceivedTransaction, SealedBlock, SignedTransaction, Transaction,
};
use session_protocol::evidence::Evidence;

use crate::codec::{check, limit};
use crate::values::{
    COMMITMENT, OPERATION, PROOF, STATEMENT, blob, certificate, certificate_bytes, commitment,
    keys, list, operation, proof, signature, statement, text, time,
};

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
    let certificate = certificate();
    let with_certificate = |golden: &str| format!("{golden} {}", certificate_bytes());
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
            &with_certificate("08 0e*32 01*32 02*32 03*32"),
        ),
        (
            Action::FailSession { session, reason: text("no"), certificate: Some(certificate) },
            &with_certificate("09 0e*32 00000002 6e6f 01"),
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
        (Action::AnchorManifest { seq: 3, manifest: [8; 32].into() }, "0f 0000000000000003 08*32"),
    ] {
        check_action(action, golden);
    }
}

fn check_action(action: Action, golden: &str) {
    let signed =
        SignedTransaction { transaction: transaction(action), keys: None, signature: signature() };
    check(&signed, &format!("{HEAD} {golden}\n 00 33*3309 # no keys, signature"));
}

#[test]
fn golden_duties() {
    let epoch = Epoch(5);
    let share = Share { value: [0x77; 32], path: proof() };
    let vote = || {
        Box::new(Vote { statement: statement(), node: [0x0a; 32].into(), signature: signature() })
    };
    for (action, golden) in [
        (
            Action::UptimeVote { epoch, passed: blob(&[1, 2]), failed: blob(&[4]) },
            "20 0000000000000005 00000002 0102 00000001 04".to_owned(),
        ),
        (Action::StorageCommitment { commitment: commitment() }, format!("21 {COMMITMENT}")),
        (
            Action::Accuse {
                evidence: Box::new(Evidence::Equivocation { first: vote(), second: vote() }),
            },
            format!("22 01 {STATEMENT} 0a*32 33*3309\n {STATEMENT} 0a*32 33*3309"),
        ),
        (
            Action::BeaconShares { epoch, shares: list([PostedShare { dealer: 7, share }]) },
            format!("23 0000000000000005 00000001 0007 77*32 {PROOF}"),
        ),
        (
            Action::RegisterBeaconKey {
                key: BeaconKey { root: [0x77; 32].into(), first: epoch, count: 8 },
            },
            "24 77*32 0000000000000005 00000008".to_owned(),
        ),
        (
            Action::BeaconDeal {
                epoch,
                dealing: Dealing { shares: [0x77; 32].into(), commitment: [0x88; 32].into() },
            },
            "25 0000000000000005 77*32 88*32".to_owned(),
        ),
        (
            Action::BeaconAck { epoch, dealings: blob(&[3]) },
            "26 0000000000000005 00000001 03".to_owned(),
        ),
        (
            Action::BeaconReveal { epoch, reveal: Reveal { secret: [0x77; 32], path: proof() } },
            format!("27 0000000000000005 77*32 {PROOF}"),
        ),
        (Action::Drain { epochs: 2 }, "28 02".to_owned()),
        (
            Action::Refute { case: [0x77; 32].into(), operation: Box::new(operation()) },
            format!("29 77*32 {OPERATION}"),
        ),
        (Action::Veto { case: [0x77; 32].into() }, "2a 77*32".to_owned()),
    ] {
        check_action(action, &golden);
    }
    limit::<Action>("20 0000000000000005", 8);
    limit::<Action>("20 0000000000000005 00000000", 8);
    limit::<Action>("23 0000000000000005", 64);
    limit::<Action>("26 0000000000000005", 8);
    limit::<Action>("27 0000000000000005 77*32 00*16", 64);
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

#[test]
fn actions_that_nobody_defined_are_refused() {
    for tag in [0, 16, 31, 43, 255] {
        assert!(
            matches!(Action::decode_exact(&[tag]), Err(DecodeError::UnknownTag { .. })),
            "{tag}"
        );
    }
}

/// A certificate of 15 of 21 is the longest part that an honest transaction has.
#[test]
fn the_longest_honest_transactions_are_short_enough() {
    let certificate = QuorumCertificate {
        signers: blob(&[0xff, 0x7f, 0]),
        signatures: list(vec![signature(); 15]),
        ..certificate()
    };
    let fits = |action| {
        let transaction = transaction(action);
        let signed = SignedTransaction { transaction, keys: Some(keys()), signature: signature() };
        let size = signed.to_bytes().len();
        assert!(size <= TRANSACTION_BYTES_MAX, "{size} bytes");
        size
    };
    let [output, oracle_root, receipts_root] = [[1; 32].into(), [2; 32].into(), [3; 32].into()];
    let session = [4; 32].into();
    let finalize = Action::FinalizeSession {
        session,
        output,
        oracle_root,
        receipts_root,
        certificate: certificate.clone(),
    };
    assert_eq!(fits(finalize), 56_448);
    let reason = text(&"x".repeat(256));
    fits(Action::FailSession { session, reason, certificate: Some(certificate) });
    let shares: Vec<_> = (0..64)
        .map(|dealer| {
            let path = Proof { index: 1, count: 64, siblings: list(vec![[1; 32].into(); 6]) };
            PostedShare { dealer, share: Share { value: [1; 32], path } }
        })
        .collect();
    fits(Action::BeaconShares { epoch: Epoch(1), shares: list(shares) });
}

#[test]
fn bitmaps_have_one_encoding() {
    assert!(fits(&bitmap(0, []), 0) && bitmap(0, []).is_empty());
    assert_eq!(*bitmap(9, [0, 8]), [1, 1]);
    for bits in 0..=64 {
        let full = bitmap(bits, 0..bits);
        assert!(fits(&full, bits), "{bits}");
        assert!((0..bits).all(|index| bit(&full, index)) && !bit(&full, bits), "{bits}");
        assert!(!fits(&[&*full, &[0]].concat(), bits), "{bits} and a byte");
        if bits > 0 {
            assert!(!fits(&full[1..], bits), "{bits} less a byte");
        }
        if bits % 8 != 0 {
            assert!(!fits(&full, bits - 1), "a bit behind the last of {}", bits - 1);
        }
    }
}

//! Evidence: what no honest node signs, and that nothing else passes for it.

use session_core::{
    Blob, ChainId, Decode as _, Encode as _, Epoch, Namespace, NodeId, SeededEntropy, Span,
    SwarmId, Time,
};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Identity, RealVerifier, Signer, Verifier};
use session_protocol::NetworkId;
use session_protocol::attestation::{Kind, Statement, Vote};
use session_protocol::chain::transaction::TRANSACTION_BYTES_MAX;
use session_protocol::chain::{Action, Amount, Transaction};
use session_protocol::commitment::{
    Absence, Commitment, Leaf, Opening, Place, Shown, SignedOpening, Witness, answer, tree,
};
use session_protocol::evidence::{BadEvidence, Evidence, Finding, Ground};
use session_protocol::inbox::message_id;
use session_protocol::limits::{FORWARDED_CLOCK_TOLERANCE, IDS_MAX, ITEM_BYTES_MAX};
use session_protocol::membership::network_id;
use session_protocol::owner::{ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::receipt::{StorageReceipt, sign_receipts};
use session_protocol::workload::oracle::{Pin, RecordHead, SignedHead};
use session_protocol::workload::round::{Ballot, Phase, RoundVote};

use crate::codec::{check, limit, tags};
use crate::values::{
    PROOF, STATEMENT, address, blob, leaf, list, message, node, proof, signature, signed_root,
    statement, time,
};
use crate::workload::pin;

const LENGTH: Span = Span::from_secs(3600);
const SETTLE: Span = Span::from_secs(600);
/// When the epoch of the commitment begins.
const START: Time = Time::from_millis(5 * 3_600_000);
const INSTANT: Span = Span::from_millis(1);

#[test]
fn golden_bytes() {
    let vote = || Box::new(Vote { statement: statement(), node: node(), signature: signature() });
    let votes = format!("{STATEMENT} 0a*32 33*3309\n {STATEMENT} 0a*32 33*3309");
    check(&Evidence::Equivocation { first: vote(), second: vote() }, &format!("01 {votes}"));
    let opening = SignedOpening {
        node: node(),
        leaf: leaf(),
        path: proof(),
        witness: Witness::Item { message: message() },
        signed_path: proof(),
        signature: signature(),
    };
    check(
        &Evidence::BadOpening { commitment: blob(b"tx"), opening: Box::new(opening) },
        &format!("02 00000002 7478 0a*32 0b*32 0c*32 {PROOF} 01 0c*32 {PROOF} 33*3309"),
    );
    let receipt = StorageReceipt {
        node: node(),
        swarm: SwarmId(3),
        address: address(),
        message: message(),
        expiry: time(1),
        stored_at: time(2),
    };
    check(
        &Evidence::FalseReceipt {
            receipt,
            root: Box::new(signed_root()),
            path: proof(),
            commitment: blob(b"tx"),
            absence: Box::new(Absence { before: None, after: None }),
        },
        &format!(
            "03 0a*32 0000000000000003 0b*32 0c*32 0000000000000001 0000000000000002 # receipt
             0a*32 66*32 33*3309 # signed root
             {PROOF}
             00000002 7478       # commitment
             00 00               # absence"
        ),
    );
    let head = || Box::new(SignedHead { head: head(), signature: signature() });
    let signed = "c1*32 0d*32 a2*32 0a*32 d1*32 01 0000000000000007 a3*32 0000000000000009 33*3309";
    check(&Evidence::Records { first: head(), second: head() }, &format!("04 {signed}\n {signed}"));
    let vote = || Box::new(RoundVote { ballot: ballot(), node: node(), signature: signature() });
    let signed = "c1*32 0d*32 a2*32 02 0f*32 0a*32 33*3309";
    check(
        &Evidence::RoundVotes { first: vote(), second: vote() },
        &format!("05 {signed}\n {signed}"),
    );
    tags::<Evidence>("", 5);
    limit::<Evidence>("02", TRANSACTION_BYTES_MAX);
}

fn chain() -> ChainId {
    [0xc1; 32].into()
}

fn network() -> NetworkId {
    network_id("test")
}

fn ground(verifier: &dyn Verifier) -> Ground<'_> {
    Ground {
        chain: chain(),
        network: network(),
        genesis: Time::ZERO,
        epoch: LENGTH,
        settle: SETTLE,
        verifier,
    }
}

fn accused() -> FakeIdentity {
    FakeIdentity::new(&[1; 32])
}

fn verify(evidence: &Evidence) -> Result<Finding, BadEvidence> {
    evidence.verify(accused().public(), &ground(&FakeVerifier))
}

fn rng() -> SeededEntropy {
    SeededEntropy::new(1)
}

/// Every byte counts: with any one changed it shows nothing.
#[track_caller]
fn no_byte_can_be_changed(evidence: &Evidence) {
    assert!(verify(evidence).is_ok());
    let bytes = evidence.to_bytes();
    for index in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[index] ^= 1;
        if let Ok(altered) = Evidence::decode_exact(&altered) {
            let found = verify(&altered);
            assert!(found.is_err(), "byte {index} of {} changed: {found:?}", evidence.name());
        }
    }
}

/// A transaction that commits a node.
fn commit(signer: &dyn Signer, commitment: Commitment) -> Blob<TRANSACTION_BYTES_MAX> {
    ordered(signer, Action::StorageCommitment { commitment })
}

fn ordered(signer: &dyn Signer, action: Action) -> Blob<TRANSACTION_BYTES_MAX> {
    let transaction = Transaction {
        version: 1,
        chain: chain(),
        sender: signer.public().account_id(),
        nonce: 2,
        fee_max: Amount::ZERO,
        expires: time(4),
        action,
    };
    blob(&transaction.sign(signer, false, &mut rng()).to_bytes())
}

// Two votes.

fn vote(signer: &dyn Signer, statement: Statement) -> Box<Vote> {
    Box::new(statement.sign(signer, &mut rng()))
}

fn other() -> Statement {
    Statement { root: [9; 32].into(), ..statement() }
}

fn equivocation(first: Statement, second: Statement) -> Evidence {
    let accused = accused();
    Evidence::Equivocation { first: vote(&accused, first), second: vote(&accused, second) }
}

#[test]
fn two_votes_that_contradict_each_other() {
    let evidence = equivocation(statement(), other());
    let found = verify(&evidence).unwrap();
    assert_eq!(found.accused, accused().public().node_id());
    assert_eq!((found.epoch, found.commitment, found.missing), (Some(Epoch(5)), None, None));
    assert_eq!(verify(&equivocation(other(), statement())), Ok(found.clone()), "in any order");
    let third = Statement { root: [8; 32].into(), ..statement() };
    assert_eq!(verify(&equivocation(third, other())).unwrap().case, found.case, "one deed");
    let subject = [7; 32].into();
    let [first, second] = [statement(), other()].map(|vote| Statement { subject, ..vote });
    assert_ne!(verify(&equivocation(first, second)).unwrap().case, found.case, "another deed");
    no_byte_can_be_changed(&evidence);
}

/// Whoever makes up a beacon makes up its id as well.
#[test]
fn two_beacons_of_one_epoch() {
    let beacon = Statement { kind: Kind::EpochBeacon, ..statement() };
    let of_beacon = |subject: [u8; 32], root: [u8; 32]| {
        let made_up = Statement { subject: subject.into(), root: root.into(), ..beacon };
        verify(&equivocation(beacon, made_up))
    };
    let found = of_beacon([7; 32], [9; 32]).unwrap();
    assert_eq!(of_beacon([7; 32], [0x0f; 32]), Ok(found.clone()), "one deed");
    assert_eq!(of_beacon([0x0e; 32], [9; 32]), Ok(found));
    assert_eq!(of_beacon([0x0e; 32], [0x0f; 32]), Err(BadEvidence::NoContradiction));
    let later = equivocation(beacon, Statement { epoch: Epoch(6), ..beacon });
    assert_eq!(verify(&later), Err(BadEvidence::NoContradiction));
}

#[test]
fn votes_that_do_not_contradict_each_other() {
    let other = other();
    for second in [
        statement(),
        Statement { chain: [1; 32].into(), ..other },
        Statement { committee: [1; 32].into(), ..other },
        Statement { kind: Kind::OracleRead, ..other },
        Statement { subject: [1; 32].into(), ..other },
        Statement { epoch: Epoch(6), ..other },
    ] {
        let refused = verify(&equivocation(statement(), second));
        assert_eq!(refused, Err(BadEvidence::NoContradiction), "{second:?}");
    }
    let [first, second] =
        [statement(), other].map(|vote| Statement { chain: [1; 32].into(), ..vote });
    assert_eq!(verify(&equivocation(first, second)), Err(BadEvidence::Chain));
}

#[test]
fn nobody_is_framed_with_votes() {
    let (accused, liar) = (accused(), FakeIdentity::new(&[2; 32]));
    let id = accused.public().node_id();
    let good = vote(&accused, statement());
    let mut forged = vote(&liar, other());
    let of_two = Evidence::Equivocation { first: good.clone(), second: forged.clone() };
    assert_eq!(verify(&of_two), Err(BadEvidence::NoContradiction));
    forged.node = id;
    for (first, second) in [(good.clone(), forged.clone()), (forged, good)] {
        let evidence = Evidence::Equivocation { first, second };
        assert_eq!(verify(&evidence), Err(BadEvidence::Signature(id)));
        let with_liars_keys = evidence.verify(liar.public(), &ground(&FakeVerifier));
        assert_eq!(with_liars_keys, Err(BadEvidence::UnknownNode(id)));
    }
}

// Two records, and two votes inside an attempt, of a workload session.

fn head() -> RecordHead {
    RecordHead {
        chain: chain(),
        committee: [0x0d; 32].into(),
        request: [0xa2; 32].into(),
        submitter: node(),
        data_hash: [0xd1; 32].into(),
        pin: Some(pin()),
        time: time(9),
    }
}

fn ballot() -> Ballot {
    Ballot {
        chain: chain(),
        committee: [0x0d; 32].into(),
        request: [0xa2; 32].into(),
        phase: Phase::Prepare,
        root: [0x0f; 32].into(),
    }
}

fn own_head() -> RecordHead {
    RecordHead { submitter: accused().public().node_id(), ..head() }
}

fn records(first: RecordHead, second: RecordHead) -> Evidence {
    let sign = |head: RecordHead| Box::new(head.sign(&accused(), &mut rng()));
    Evidence::Records { first: sign(first), second: sign(second) }
}

fn round_votes(first: Ballot, second: Ballot) -> Evidence {
    let sign = |ballot: Ballot| Box::new(ballot.sign(&accused(), &mut rng()));
    Evidence::RoundVotes { first: sign(first), second: sign(second) }
}

#[test]
fn two_records_for_one_request() {
    let (first, second) = (own_head(), RecordHead { data_hash: [0xd2; 32].into(), ..own_head() });
    let evidence = records(first, second);
    let found = verify(&evidence).unwrap();
    assert_eq!(found.accused, accused().public().node_id());
    assert_eq!((found.epoch, found.commitment, found.missing), (None, None, None));
    assert_eq!(verify(&records(second, first)), Ok(found.clone()), "in any order");
    for also in [
        RecordHead { time: time(10), ..first },
        RecordHead { pin: None, ..first },
        RecordHead { pin: Some(Pin { number: 8, ..pin() }), ..first },
    ] {
        assert_eq!(verify(&records(first, also)), Ok(found.clone()), "one deed");
    }
    let request = [0xa4; 32].into();
    let [first, second] = [first, second].map(|head| RecordHead { request, ..head });
    assert_ne!(verify(&records(first, second)).unwrap().case, found.case, "another deed");
    no_byte_can_be_changed(&evidence);
}

#[test]
fn records_that_do_not_contradict_each_other() {
    let second = RecordHead { data_hash: [0xd2; 32].into(), ..own_head() };
    for second in [
        own_head(),
        RecordHead { chain: [1; 32].into(), ..second },
        RecordHead { committee: [1; 32].into(), ..second },
        RecordHead { request: [1; 32].into(), ..second },
        RecordHead { submitter: node(), ..second },
    ] {
        let refused = verify(&records(own_head(), second));
        assert_eq!(refused, Err(BadEvidence::NoContradiction), "{second:?}");
    }
    let chain = [1; 32].into();
    let [first, second] = [own_head(), second].map(|head| RecordHead { chain, ..head });
    assert_eq!(verify(&records(first, second)), Err(BadEvidence::Chain));
}

#[test]
fn two_votes_inside_one_attempt() {
    let (first, second) = (ballot(), Ballot { root: [9; 32].into(), ..ballot() });
    let evidence = round_votes(first, second);
    let found = verify(&evidence).unwrap();
    assert_eq!((found.accused, found.epoch), (accused().public().node_id(), None));
    assert_eq!(verify(&round_votes(second, first)), Ok(found.clone()), "in any order");
    let third = Ballot { root: [8; 32].into(), ..first };
    assert_eq!(verify(&round_votes(third, first)), Ok(found.clone()), "one deed");
    for (what, other) in [
        ("request", Ballot { request: [1; 32].into(), ..first }),
        ("phase", Ballot { phase: Phase::Intent, ..first }),
    ] {
        let second = Ballot { root: [9; 32].into(), ..other };
        let other = verify(&round_votes(other, second)).unwrap().case;
        assert_ne!(other, found.case, "another {what} is another deed");
    }
    no_byte_can_be_changed(&evidence);
}

#[test]
fn votes_inside_an_attempt_that_do_not_contradict_each_other() {
    let second = Ballot { root: [9; 32].into(), ..ballot() };
    for second in [
        ballot(),
        Ballot { chain: [1; 32].into(), ..second },
        Ballot { committee: [1; 32].into(), ..second },
        Ballot { request: [1; 32].into(), ..second },
        Ballot { phase: Phase::Intent, ..second },
    ] {
        let refused = verify(&round_votes(ballot(), second));
        assert_eq!(refused, Err(BadEvidence::NoContradiction), "{second:?}");
    }
    let chain = [1; 32].into();
    let [first, second] = [ballot(), second].map(|ballot| Ballot { chain, ..ballot });
    assert_eq!(verify(&round_votes(first, second)), Err(BadEvidence::Chain));
}

/// What a liar signs in the name of another one shows nothing.
#[test]
fn nobody_is_framed_with_what_is_said_in_sessions() {
    let (accused, liar) = (accused(), FakeIdentity::new(&[2; 32]));
    let id = accused.public().node_id();
    let other = RecordHead { data_hash: [0xd2; 32].into(), ..own_head() };
    let good = Box::new(own_head().sign(&accused, &mut rng()));
    let forged = Box::new(other.sign(&liar, &mut rng()));
    for (first, second) in [(good.clone(), forged.clone()), (forged, good)] {
        let evidence = Evidence::Records { first, second };
        assert_eq!(verify(&evidence), Err(BadEvidence::Signature(id)));
    }
    let other = Ballot { root: [9; 32].into(), ..ballot() };
    let good = Box::new(ballot().sign(&accused, &mut rng()));
    let forged = Box::new(other.sign(&liar, &mut rng()));
    let of_two = Evidence::RoundVotes { first: good.clone(), second: forged.clone() };
    assert_eq!(verify(&of_two), Err(BadEvidence::NoContradiction));
    let forged = Box::new(RoundVote { node: id, ..*forged });
    for (first, second) in [(good.clone(), forged.clone()), (forged, good)] {
        let evidence = Evidence::RoundVotes { first, second };
        assert_eq!(verify(&evidence), Err(BadEvidence::Signature(id)));
    }
}

#[test]
fn real_signatures() {
    let accused = Identity::generate(&mut rng());
    let evidence = Evidence::Equivocation {
        first: vote(&accused, statement()),
        second: vote(&accused, other()),
    };
    let ground = ground(&RealVerifier);
    let found = evidence.verify(accused.public(), &ground).unwrap();
    assert_eq!(found.accused, accused.public().node_id());
    let Evidence::Equivocation { first, mut second } = evidence else { unreachable!() };
    second.statement.root = [8; 32].into();
    let forged = Evidence::Equivocation { first, second };
    assert!(matches!(forged.verify(accused.public(), &ground), Err(BadEvidence::Signature(_))));
}

// Openings.

fn owner() -> FakeIdentity {
    FakeIdentity::new(&[2; 32])
}

fn inbox() -> session_core::InboxAddress {
    session_protocol::AccessRule::from(owner().public().account_id()).address()
}

fn item(n: u8) -> (Leaf, Vec<u8>) {
    let data = vec![n; 50];
    (Leaf { address: inbox(), message: message_id(&inbox(), Namespace(0), &data) }, data)
}

/// Items in the order of leaves, and the commitment to them.
fn committed(items: u8) -> (Vec<(Leaf, Vec<u8>)>, Commitment) {
    let mut items: Vec<_> = (0..items).map(item).collect();
    items.sort();
    let leaves: Vec<Leaf> = items.iter().map(|(leaf, _)| *leaf).collect();
    let tree = tree(&leaves);
    let (count, root) = (tree.count(), tree.root());
    (items, Commitment { epoch: Epoch(5), swarm: SwarmId(3), count, bytes: 1, root })
}

fn openings(items: &[(Leaf, Vec<u8>)]) -> Vec<Opening> {
    let leaves: Vec<Leaf> = items.iter().map(|(leaf, _)| *leaf).collect();
    let tree = tree(&leaves);
    let opening = |((leaf, data), index): (&(Leaf, Vec<u8>), u64)| Opening {
        leaf: *leaf,
        path: tree.prove(index).expect("it is a leaf"),
        shown: Shown::Item { namespace: Namespace(0), data: blob(data) },
    };
    items.iter().zip(0..).map(opening).collect()
}

fn signed(
    signer: &dyn Signer,
    commitment: &Commitment,
    openings: &[Opening],
) -> Box<SignedOpening> {
    let answer = answer(&chain(), commitment, list(openings), signer, &mut rng());
    Box::new(answer.signed(signer.public().node_id(), 1).expect("there are two"))
}

/// What an accuser makes of two openings, of which the second is looked at.
fn bad_opening(commitment: Commitment, openings: &[Opening]) -> Evidence {
    let (accused, opening) = (accused(), signed(&accused(), &commitment, openings));
    Evidence::BadOpening { commitment: commit(&accused, commitment), opening }
}

#[test]
fn an_opening_that_does_not_fit() {
    let (items, commitment) = committed(5);
    let good = openings(&items);
    assert_eq!(verify(&bad_opening(commitment, &good[..2])), Err(BadEvidence::GoodOpening));

    let mut other_bytes = good.clone();
    other_bytes[1].shown = Shown::Item { namespace: Namespace(0), data: blob(b"other") };
    let mut other_path = good.clone();
    other_path[1].path.index = 3;
    let mut other_count = commitment;
    other_count.count = 2;
    let cases = [(commitment, other_bytes), (commitment, other_path), (other_count, good)];
    let mut deeds = Vec::new();
    for (commitment, openings) in cases {
        let evidence = bad_opening(commitment, &openings[..2]);
        let found = verify(&evidence).unwrap();
        assert_eq!(found.accused, accused().public().node_id());
        assert_eq!((found.epoch, found.commitment), (Some(Epoch(5)), Some(commitment)));
        assert_eq!((found.missing, found.receipt), (None, None));
        no_byte_can_be_changed(&evidence);
        deeds.push(found.case);
    }
    assert!(deeds.windows(2).all(|pair| pair[0] == pair[1]), "an epoch's openings are one deed");
}

/// A node may commit twice in an epoch: what it opens of the one is no lie about the other.
#[test]
fn openings_of_another_commitment_frame_nobody() {
    let accused = accused();
    let id = accused.public().node_id();
    let ((few, before), (_, after)) = (committed(3), committed(5));
    let opening = signed(&accused, &before, &openings(&few)[..2]);
    let framed = Evidence::BadOpening { commitment: commit(&accused, after), opening };
    assert_eq!(verify(&framed), Err(BadEvidence::Signature(id)));
}

#[test]
fn the_owners_order_explains_a_missing_item() {
    let (items, commitment) = committed(5);
    let until = START + LENGTH + LENGTH + SETTLE;
    let shown = |action: OwnerAction| {
        let operation = OwnerOperation::sign(network(), &owner(), action, time(1), &mut rng());
        let mut openings = openings(&items);
        openings[1].shown = Shown::Removed { operation: Box::new(operation) };
        verify(&bad_opening(commitment, &openings[..2]))
    };
    let ids = || list([items[1].0.message]);
    let expire = |expiry| OwnerAction::Expire { ids: ids(), expiry, mode: ExpireMode::Shorten };
    assert_eq!(shown(OwnerAction::Delete { ids: ids() }), Err(BadEvidence::GoodOpening));
    assert_eq!(shown(expire(until)), Err(BadEvidence::GoodOpening));
    assert!(shown(expire(until + INSTANT)).is_ok(), "the item was to live on");
    assert!(shown(OwnerAction::Delete { ids: list([items[0].0.message]) }).is_ok());
}

#[test]
fn nobody_is_framed_with_openings() {
    let (accused, liar) = (accused(), FakeIdentity::new(&[2; 32]));
    let id = accused.public().node_id();
    let (items, commitment) = committed(5);
    let mut bad = openings(&items)[..2].to_vec();
    bad[1].shown = Shown::Item { namespace: Namespace(0), data: blob(b"other") };
    let (its, liars) = (commit(&accused, commitment), commit(&liar, commitment));
    let good = signed(&accused, &commitment, &bad);
    let mut forged = signed(&liar, &commitment, &bad);
    forged.node = id;
    let refused = |commitment: &Blob<TRANSACTION_BYTES_MAX>, opening: &SignedOpening| {
        let (commitment, opening) = (commitment.clone(), Box::new(opening.clone()));
        verify(&Evidence::BadOpening { commitment, opening }).unwrap_err()
    };
    assert_eq!(refused(&its, &forged), BadEvidence::Signature(id));
    assert_eq!(refused(&liars, &good), BadEvidence::Unrelated("the accused"));
    let nothing = refused(&blob(b""), &good);
    assert!(matches!(nothing, BadEvidence::NoCommitment(_)), "{nothing}");
    let transfer = ordered(&accused, Action::Drain { epochs: 1 });
    assert_eq!(refused(&transfer, &good), BadEvidence::NoCommitment("it is a Drain".to_owned()));
    let elsewhere = Ground { chain: [1; 32].into(), ..ground(&FakeVerifier) };
    let evidence = Evidence::BadOpening { commitment: its, opening: good };
    let found = evidence.verify(accused.public(), &elsewhere);
    assert!(matches!(found, Err(BadEvidence::NoCommitment(_))), "{found:?}");
}

// Receipts.

/// What a node promised, and committed to without it.
struct Promise {
    receipt: StorageReceipt,
    /// Signs the receipt and the commitment.
    signers: [FakeIdentity; 2],
    commitment: Commitment,
    absence: Absence,
}

impl Promise {
    /// The second of three items is missing.
    fn new() -> Self {
        let (items, _) = committed(3);
        let leaves = [items[0].0, items[2].0];
        let tree = tree(&leaves);
        let place = |index: usize| {
            let path = tree.prove(index as u64).expect("it is a leaf");
            Some(Place { leaf: leaves[index], path })
        };
        let missing = items[1].0;
        Self {
            receipt: StorageReceipt {
                node: accused().public().node_id(),
                swarm: SwarmId(3),
                address: missing.address,
                message: missing.message,
                expiry: START + LENGTH + LENGTH + SETTLE + INSTANT,
                stored_at: START - SETTLE - FORWARDED_CLOCK_TOLERANCE,
            },
            signers: [accused(), accused()],
            commitment: Commitment {
                epoch: Epoch(5),
                swarm: SwarmId(3),
                count: 2,
                bytes: 1,
                root: tree.root(),
            },
            absence: Absence { before: place(0), after: place(1) },
        }
    }

    fn evidence(&self) -> Evidence {
        let others = StorageReceipt { message: [1; 32].into(), ..self.receipt };
        let receipts = [others, self.receipt];
        let (root, mut paths) = sign_receipts(network(), &self.signers[0], &receipts, &mut rng());
        Evidence::FalseReceipt {
            receipt: self.receipt,
            root: Box::new(root),
            path: paths.remove(1),
            commitment: commit(&self.signers[1], self.commitment),
            absence: Box::new(self.absence.clone()),
        }
    }
}

#[test]
fn a_receipt_for_what_is_not_kept() {
    let promise = Promise::new();
    let found = verify(&promise.evidence()).unwrap();
    assert_eq!(found.accused, accused().public().node_id());
    assert_eq!(found.missing.map(|leaf| leaf.message), Some(promise.receipt.message));
    assert_eq!(found.receipt, Some(promise.receipt));
    assert_eq!(found.commitment, Some(promise.commitment));
    let mut earlier = Promise::new();
    earlier.receipt.stored_at = time(1);
    assert_eq!(verify(&earlier.evidence()).unwrap().case, found.case, "one item is one deed");
    no_byte_can_be_changed(&promise.evidence());
}

#[test]
fn a_commitment_need_not_hold_everything() {
    let refused = |alter: fn(&mut Promise)| {
        let mut promise = Promise::new();
        alter(&mut promise);
        verify(&promise.evidence()).unwrap_err()
    };
    let late = refused(|promise| promise.receipt.stored_at = promise.receipt.stored_at + INSTANT);
    assert_eq!(late, BadEvidence::OutsideWindow("it was stored too late"));
    let early = refused(|promise| promise.receipt.expiry = promise.receipt.expiry - INSTANT);
    assert_eq!(early, BadEvidence::OutsideWindow("it expires too early"));
    let swarm = refused(|promise| promise.commitment.swarm = SwarmId(4));
    assert_eq!(swarm, BadEvidence::Unrelated("the receipt"));
    let before = refused(|promise| promise.commitment.epoch = Epoch(4));
    assert_eq!(before, BadEvidence::OutsideWindow("it was stored too late"));
}

#[test]
fn nobody_is_framed_with_receipts() {
    let liar = || FakeIdentity::new(&[2; 32]);
    let id = accused().public().node_id();
    let refused = |alter: &dyn Fn(&mut Promise)| {
        let mut promise = Promise::new();
        alter(&mut promise);
        verify(&promise.evidence()).unwrap_err()
    };
    let receipt = refused(&|promise| promise.signers[0] = liar());
    assert!(matches!(receipt, BadEvidence::Receipt(_)), "{receipt}");
    let commitment = refused(&|promise| promise.signers[1] = liar());
    assert_eq!(commitment, BadEvidence::Unrelated("the accused"));
    let kept = refused(&|promise| {
        // It is there after all.
        promise.receipt.message = promise.absence.before.as_ref().unwrap().leaf.message;
    });
    assert!(matches!(kept, BadEvidence::NotAbsent(_)), "{kept}");
    let one_side = refused(&|promise| promise.absence.after = None);
    assert!(matches!(one_side, BadEvidence::NotAbsent(_)), "{one_side}");
    let other_root = refused(&|promise| promise.commitment.root = [1; 32].into());
    assert!(matches!(other_root, BadEvidence::NotAbsent(_)), "{other_root}");
    let stranger: NodeId = liar().public().node_id();
    let other_node = refused(&|promise| promise.receipt.node = stranger);
    assert_eq!(other_node, BadEvidence::UnknownNode(stranger));
    let Evidence::FalseReceipt { receipt, mut root, path, commitment, absence } =
        Promise::new().evidence()
    else {
        unreachable!()
    };
    root.node = stranger;
    let evidence = Evidence::FalseReceipt { receipt, root, path, commitment, absence };
    let refused = verify(&evidence).unwrap_err();
    assert!(matches!(refused, BadEvidence::Receipt(_)), "{refused}");
    assert_eq!(evidence.accused(), id);
}

/// Whatever a liar showed, what proves it fits into a transaction.
#[test]
fn evidence_fits_into_a_transaction() {
    let accused = accused();
    let (items, commitment) = committed(5);
    let mut longest = openings(&items)[..2].to_vec();
    longest[1].shown =
        Shown::Item { namespace: Namespace(0), data: blob(&vec![1; ITEM_BYTES_MAX]) };
    let mut order = openings(&items)[..2].to_vec();
    let ids = list(vec![message(); IDS_MAX]);
    let action = OwnerAction::Expire { ids, expiry: time(1), mode: ExpireMode::Shorten };
    let operation = OwnerOperation::sign(network(), &owner(), action, time(1), &mut rng());
    order[1].shown = Shown::Removed { operation: Box::new(operation) };
    for evidence in [
        bad_opening(commitment, &longest),
        bad_opening(commitment, &order),
        Promise::new().evidence(),
        equivocation(statement(), other()),
    ] {
        assert!(verify(&evidence).is_ok());
        let name = evidence.name();
        let accusation = ordered(&accused, Action::Accuse { evidence: Box::new(evidence) });
        // Longer paths and the accuser's keys have room besides.
        assert!(accusation.len() < TRANSACTION_BYTES_MAX / 2, "{name}: {} bytes", accusation.len());
    }
}

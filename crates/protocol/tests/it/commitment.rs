//! Storage commitments: what a leaf is shown by, and how absence is.

use session_core::{
    ChainId, Digest, Epoch, MessageId, Namespace, SeededEntropy, Span, SwarmId, Time,
};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::NetworkId;
use session_protocol::commitment::{
    Absence, Answer, BadOpening, Commitment, Leaf, Opening, Place, Shown, SignedOpening, Window,
    Witness, answer, removes, tree,
};
use session_protocol::inbox::message_id;
use session_protocol::limits::ITEM_BYTES_MAX;
use session_protocol::membership::network_id;
use session_protocol::owner::{ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::schedule::Schedule;

use crate::codec::{check, limit, tags};
use crate::values::{
    COMMITMENT, OPERATION, PROOF, address, blob, commitment, leaf, list, message, node, operation,
    proof, signature, signed_of, time,
};

#[test]
fn golden_bytes() {
    check(&commitment(), COMMITMENT);
    check(&leaf(), "0b*32 0c*32");
    let opening = Opening {
        leaf: leaf(),
        path: proof(),
        shown: Shown::Item { namespace: Namespace(2), data: blob(b"sealed") },
    };
    let golden = format!("0b*32 0c*32 {PROOF} 01 0002 00000006 7365616c6564");
    check(&opening, &golden);
    check(
        &Opening { shown: Shown::Removed { operation: Box::new(operation()) }, ..opening.clone() },
        &format!("0b*32 0c*32 {PROOF} 02 {OPERATION}"),
    );
    tags::<Shown>("", 2);
    limit::<Shown>("01 0002", ITEM_BYTES_MAX);
    check(
        &Answer { epoch: Epoch(5), openings: list([opening]), signature: signature() },
        &format!("0000000000000005 00000001 {golden} 33*3309"),
    );
    limit::<Answer>("0000000000000005", 32);
    let signed = SignedOpening {
        node: node(),
        leaf: leaf(),
        path: proof(),
        witness: Witness::Item { message: message() },
        signed_path: proof(),
        signature: signature(),
    };
    check(&signed, &format!("0a*32 0b*32 0c*32 {PROOF} 01 0c*32 {PROOF} 33*3309"));
    check(&Witness::Removed { operation: Box::new(operation()) }, &format!("02 {OPERATION}"));
    tags::<Witness>("", 2);
    let place = || Some(Place { leaf: leaf(), path: proof() });
    check(&place().unwrap(), &format!("0b*32 0c*32 {PROOF}"));
    let both = format!("01 0b*32 0c*32 {PROOF}\n 01 0b*32 0c*32 {PROOF}");
    check(&Absence { before: place(), after: place() }, &both);
    check(&Absence { before: None, after: None }, "00 00");
}

const LENGTH: Span = Span::from_secs(3600);
const SETTLE: Span = Span::from_secs(600);

fn window() -> Window {
    Window::of(&Schedule::of(Time::ZERO, LENGTH, Epoch(5)), SETTLE)
}

#[test]
fn the_window_follows_from_the_item() {
    let window = window();
    assert_eq!(window.sent_until, time(5 * 3_600_000 - 600_000));
    assert_eq!(window.expire_after, time(7 * 3_600_000 + 600_000));
    let instant = Span::from_millis(1);
    assert!(window.holds(window.sent_until, window.expire_after + instant));
    assert!(!window.holds(window.sent_until + instant, window.expire_after + instant));
    assert!(!window.holds(window.sent_until, window.expire_after));
}

fn network() -> NetworkId {
    network_id("test")
}

fn chain() -> ChainId {
    [0xc1; 32].into()
}

fn keeper() -> FakeIdentity {
    FakeIdentity::new(&[1; 32])
}

fn owner() -> FakeIdentity {
    FakeIdentity::new(&[2; 32])
}

/// Items of the owner's inbox, what a node committed to of them, and every opening.
struct Kept {
    commitment: Commitment,
    openings: Vec<Opening>,
}

impl Kept {
    fn new(items: u8) -> Self {
        let address = owned(MessageId::from([0; 32])).address;
        let mut items: Vec<(Leaf, Vec<u8>)> = (0..items)
            .map(|n| {
                let data = vec![n; 100];
                (Leaf { address, message: message_id(&address, Namespace(0), &data) }, data)
            })
            .collect();
        items.sort();
        let leaves: Vec<Leaf> = items.iter().map(|(leaf, _)| *leaf).collect();
        let tree = tree(&leaves);
        let openings = items.iter().zip(0..).map(|((leaf, data), index)| Opening {
            leaf: *leaf,
            path: tree.prove(index).unwrap(),
            shown: Shown::Item { namespace: Namespace(0), data: blob(data) },
        });
        let (count, bytes) = (tree.count(), 100 * tree.count());
        let commitment =
            Commitment { epoch: Epoch(5), swarm: SwarmId(3), count, bytes, root: tree.root() };
        Self { commitment, openings: openings.collect() }
    }

    fn verify(&self, opening: &Opening) -> Result<(), BadOpening> {
        opening.verify(&self.commitment, &window(), network(), &FakeVerifier)
    }
}

fn owned(message: MessageId) -> Leaf {
    let rule = session_protocol::AccessRule::from(owner().public().account_id());
    Leaf { address: rule.address(), message }
}

fn ordered(action: OwnerAction) -> OwnerOperation {
    OwnerOperation::sign(network(), &owner(), action, time(1), &mut SeededEntropy::new(1))
}

fn delete(message: MessageId) -> OwnerOperation {
    ordered(OwnerAction::Delete { ids: list([message]) })
}

fn expire(message: MessageId, expiry: Time, mode: ExpireMode) -> OwnerOperation {
    ordered(OwnerAction::Expire { ids: list([message]), expiry, mode })
}

#[test]
fn an_opening_shows_the_bytes_at_the_place() {
    let kept = Kept::new(5);
    for opening in &kept.openings {
        assert_eq!(kept.verify(opening), Ok(()));
        let mut other_bytes = opening.clone();
        other_bytes.shown = Shown::Item { namespace: Namespace(0), data: blob(b"other") };
        assert_eq!(kept.verify(&other_bytes), Err(BadOpening::Bytes(opening.leaf.message)));
        let mut other_namespace = opening.clone();
        let Shown::Item { namespace, .. } = &mut other_namespace.shown else { unreachable!() };
        *namespace = Namespace(2);
        assert_eq!(kept.verify(&other_namespace), Err(BadOpening::Bytes(opening.leaf.message)));
        let mut moved = opening.clone();
        moved.path.index = (moved.path.index + 1) % 5;
        assert!(matches!(kept.verify(&moved), Err(BadOpening::Path(_))));
        let mut elsewhere = opening.clone();
        elsewhere.leaf.address = address();
        assert!(matches!(kept.verify(&elsewhere), Err(BadOpening::Path(_))));
    }
    let other = Kept::new(4);
    assert!(matches!(other.verify(&kept.openings[0]), Err(BadOpening::Path(_))));
}

/// Fewer leaves would be audited of a smaller count.
#[test]
fn the_count_is_that_of_the_tree() {
    let mut kept = Kept::new(40);
    kept.commitment.count = 4;
    let refused = BadOpening::Count { got: 40, committed: 4 };
    assert_eq!(kept.verify(&kept.openings[0]), Err(refused));
}

#[test]
fn only_the_owners_order_removes_an_item() {
    let kept = Kept::new(3);
    let opening = &kept.openings[1];
    let message = opening.leaf.message;
    let verify = |operation| {
        let shown = Shown::Removed { operation: Box::new(operation) };
        kept.verify(&Opening { shown, ..opening.clone() })
    };
    let until = window().expire_after;
    assert_eq!(verify(delete(message)), Ok(()));
    assert_eq!(verify(expire(message, until, ExpireMode::Shorten)), Ok(()));

    let order = |why: &str| Err(BadOpening::Order(message, why.to_owned()));
    let later = until + Span::from_millis(1);
    assert_eq!(
        verify(expire(message, later, ExpireMode::Shorten)),
        order("it lets the item live on")
    );
    assert_eq!(verify(expire(message, until, ExpireMode::Extend)), order("it removes nothing"));
    let other = kept.openings[0].leaf.message;
    assert_eq!(verify(delete(other)), order("it is about other items"));
    let stranger = OwnerOperation::sign(
        network(),
        &FakeIdentity::new(&[9; 32]),
        OwnerAction::Delete { ids: list([message]) },
        time(1),
        &mut SeededEntropy::new(1),
    );
    assert_eq!(verify(stranger.clone()), order("it is about another inbox"));

    let good = delete(message);
    let mut relabelled = stranger;
    relabelled.rule = good.rule;
    assert_eq!(
        verify(relabelled),
        order("the keys do not belong to the account that owns the inbox")
    );
    let mut unsigned = good.clone();
    *signed_of(&mut unsigned).timestamp = time(2);
    assert_eq!(verify(unsigned), order("the signature does not verify"));
    let mut bare = good.clone();
    bare.authorization.leave_out_keys();
    assert!(matches!(verify(bare), Err(BadOpening::Order(..))));
    let elsewhere = removes(&good, &owned(message), until, network_id("other"), &FakeVerifier);
    assert_eq!(elsewhere, order("the signature does not verify"));
}

#[test]
fn an_answer_is_signed_for_one_commitment() {
    let kept = Kept::new(5);
    let keeper = keeper();
    let (id, key) = (keeper.public().node_id(), keeper.public().dsa());
    let rng = &mut SeededEntropy::new(1);
    let answer = answer(&chain(), &kept.commitment, list(&kept.openings[1..4]), &keeper, rng);
    let verify = |answer: &Answer, chain: ChainId, commitment: &Commitment| {
        answer.verify(&chain, commitment, (id, key), &FakeVerifier)
    };
    assert_eq!(verify(&answer, chain(), &kept.commitment), Ok(()));
    let refused = Err(BadOpening::Signature(id));
    assert_eq!(verify(&answer, [1; 32].into(), &kept.commitment), refused);
    let committed = kept.commitment;
    for other in [
        Commitment { epoch: Epoch(6), ..committed },
        Commitment { swarm: SwarmId(4), ..committed },
        Commitment { count: 6, ..committed },
        Commitment { bytes: 1, ..committed },
        Commitment { root: Digest::default(), ..committed },
    ] {
        assert_eq!(verify(&answer, chain(), &other), refused, "{other:?}");
    }
    let mut fewer = answer.clone();
    fewer.openings = list(&kept.openings[1..3]);
    assert_eq!(verify(&fewer, chain(), &kept.commitment), refused);
    let stranger = FakeIdentity::new(&[7; 32]);
    let of_other = (id, stranger.public().dsa());
    assert_eq!(answer.verify(&chain(), &kept.commitment, of_other, &FakeVerifier), refused);

    for index in 0..3 {
        let signed = answer.signed(id, index).unwrap();
        assert_eq!(signed.verify_signature(&chain(), &committed, key, &FakeVerifier), Ok(()));
        assert_eq!(signed.verify(&committed, &window(), network(), &FakeVerifier), Ok(()));
        let mut altered = signed.clone();
        altered.witness = Witness::Item { message: message() };
        let verified = altered.verify_signature(&chain(), &committed, key, &FakeVerifier);
        assert_eq!(verified, refused, "the witness is signed");
        assert_eq!(
            altered.verify(&committed, &window(), network(), &FakeVerifier),
            Err(BadOpening::Bytes(signed.leaf.message))
        );
    }
    assert_eq!(answer.signed(id, 3), None);
}

/// Leaves 2, 4, 6, … of which odd ones are absent.
fn even(n: u8) -> Leaf {
    Leaf { address: address(), message: [2 * n + 2; 32].into() }
}

fn odd(n: u8) -> Leaf {
    Leaf { address: address(), message: [2 * n + 1; 32].into() }
}

#[test]
fn absence_is_shown_by_neighbours() {
    for count in 0..=9_u8 {
        let leaves: Vec<Leaf> = (0..count).map(even).collect();
        let tree = tree(&leaves);
        let place = |index: u8| {
            let path = tree.prove(index.into())?;
            Some(Place { leaf: even(index), path })
        };
        let absence = |before: Option<u8>, after: Option<u8>| Absence {
            before: before.and_then(place),
            after: after.and_then(place),
        };
        let all: Vec<Option<u8>> = core::iter::once(None).chain((0..count).map(Some)).collect();
        let shown_by = |wanted: &Leaf| {
            let mut shown = Vec::new();
            for before in &all {
                for after in &all {
                    let shows = absence(*before, *after).verify(wanted, &tree.root());
                    assert!(matches!(shows, Ok(()) | Err(BadOpening::NotAbsent)));
                    shown.extend(shows.is_ok().then_some((*before, *after)));
                }
            }
            shown
        };
        for n in 0..=count {
            let only = (n.checked_sub(1), Some(n).filter(|n| *n < count));
            assert_eq!(shown_by(&odd(n)), [only], "{n} of {count}");
        }
        for n in 0..count {
            assert_eq!(shown_by(&even(n)), [], "leaf {n} of {count} is there");
        }
    }
}

#[test]
fn absence_of_another_tree_shows_nothing() {
    let leaves: Vec<Leaf> = (0..5).map(even).collect();
    let tree = tree(&leaves);
    let place =
        |index: u8| Some(Place { leaf: even(index), path: tree.prove(index.into()).unwrap() });
    let good = Absence { before: place(1), after: place(2) };
    assert_eq!(good.verify(&odd(2), &tree.root()), Ok(()));
    assert!(matches!(good.verify(&odd(2), &Digest::default()), Err(BadOpening::Path(_))));
    let mut forged = good.clone();
    forged.after.as_mut().unwrap().leaf = even(4);
    assert!(matches!(forged.verify(&odd(2), &tree.root()), Err(BadOpening::Path(_))));
    let mut renumbered = good;
    renumbered.before.as_mut().unwrap().path.count = 2;
    assert!(matches!(renumbered.verify(&odd(2), &tree.root()), Err(BadOpening::Path(_))));
    let empty = Absence { before: None, after: None };
    assert_eq!(empty.verify(&odd(0), &tree.root()), Err(BadOpening::NotAbsent));
}

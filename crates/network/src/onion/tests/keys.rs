use session_core::{Encode as _, SeededEntropy, Span, Time};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{BadSignature, Identity, RealVerifier, Signature, Signer as _};

use super::{EPOCH, NOW, UNTIL, network};
use crate::onion::{BadHopKey, Hop, HopKeyRecord, KEY_LIFE_MAX, SignedHopKey, TAGS_MAX};

fn record() -> (FakeIdentity, HopKeyRecord) {
    let identity = FakeIdentity::new(&[1; 32]);
    let mut hop = Hop::new(identity.public().node_id(), TAGS_MAX);
    let record = hop.rotate(&mut SeededEntropy::new(30), network(), EPOCH, (NOW, UNTIL));
    (identity, record)
}

fn sign(identity: &FakeIdentity, record: HopKeyRecord) -> SignedHopKey {
    record.sign(identity, &mut SeededEntropy::new(31))
}

fn verified(identity: &FakeIdentity, signed: SignedHopKey) -> Result<(), BadHopKey> {
    signed.verify(&network(), identity.public(), &FakeVerifier).map(drop)
}

#[test]
fn a_published_key_is_one_record() {
    let (identity, record) = record();
    let signed = sign(&identity, record.clone());
    let golden = format!(
        "01               # version
        {}               # network
        {}               # node
        0000000000000007 # epoch
        00000000000003e8 # from
        000000000036ee80 # until
        {}               # key",
        hex::encode(network()),
        hex::encode(identity.public().node_id()),
        hex::encode(&record.key),
    );
    session_core::testing::check_codec(&record, &golden);
    session_core::testing::check_round_trip(&signed);
    assert_eq!((record.to_bytes().len(), signed.to_bytes().len()), (1_305, 4_614));
}

#[test]
fn only_what_the_node_signed_becomes_a_hop_key() {
    let (identity, record) = record();
    let signed = sign(&identity, record.clone());
    let key = signed.verify(&network(), identity.public(), &FakeVerifier).unwrap();
    assert_eq!((key.node(), key.epoch()), (identity.public().node_id(), EPOCH));
    assert_eq!(key.valid_from(), NOW);

    // Signed by somebody else, and signed before something was changed.
    let other = FakeIdentity::new(&[2; 32]);
    let forged = sign(&other, record.clone());
    assert_eq!(verified(&identity, forged), Err(BadHopKey::Signature(BadSignature)));
    let mut changed = sign(&identity, record.clone());
    changed.record.until = UNTIL + Span::from_millis(1);
    assert_eq!(verified(&identity, changed), Err(BadHopKey::Signature(BadSignature)));

    // Signed, but not acceptable.
    let with = |change: &dyn Fn(&mut HopKeyRecord)| {
        let mut record = record.clone();
        change(&mut record);
        verified(&identity, sign(&identity, record))
    };
    assert_eq!(with(&|record| record.version = 2), Err(BadHopKey::Version { got: 2 }));
    assert_eq!(with(&|record| record.network = [0; 32].into()), Err(BadHopKey::Network));
    let (got, expected) = (other.public().node_id(), identity.public().node_id());
    assert_eq!(with(&|record| record.node = got), Err(BadHopKey::Node { got, expected }));
    for (until, good) in [
        (NOW, false),
        (Time::ZERO, false),
        (NOW + KEY_LIFE_MAX, true),
        (NOW + KEY_LIFE_MAX + Span::from_millis(1), false),
        (Time::MAX, false),
    ] {
        let expected = if good { Ok(()) } else { Err(BadHopKey::Life { from: NOW, until }) };
        assert_eq!(with(&|record| record.until = until), expected);
    }
}

#[test]
fn real_signatures_count_and_others_do_not() {
    let identity = Identity::from_seed(&[3; 32]);
    let rng = &mut SeededEntropy::new(33);
    let mut hop = Hop::new(identity.public().node_id(), TAGS_MAX);
    let signed = hop.rotate(rng, network(), EPOCH, (NOW, UNTIL)).sign(&identity, rng);
    let mut forged = signed.clone();
    forged.signature = Signature::from([0; Signature::SIZE]);
    assert!(signed.verify(&network(), identity.public(), &RealVerifier).is_ok());
    let refused = forged.verify(&network(), identity.public(), &RealVerifier);
    assert_eq!(refused, Err(BadHopKey::Signature(BadSignature)));
}

#[test]
fn keys_are_drawn_and_not_derived() {
    let identity = FakeIdentity::new(&[4; 32]);
    let rng = &mut SeededEntropy::new(34);
    let mut hop = Hop::new(identity.public().node_id(), TAGS_MAX);
    let [one, two] =
        [0; 2].map(|_| hop.rotate(rng, network(), EPOCH, (NOW, UNTIL)).key.as_bytes().to_vec());
    assert_ne!(one, two);
}

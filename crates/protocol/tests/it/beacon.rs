//! Dealings, shares and reveals: what was dealt decides, whoever shows it.

use session_core::merkle::Tree;
use session_core::{
    Decode as _, Digest, Domain, Encode as _, Epoch, NodeId, SeededEntropy, digest,
};
use session_crypto::fake::FakeIdentity;
use session_crypto::{Identity, KemCiphertext, Signer, shamir};
use session_protocol::beacon::{
    BadBeacon, BeaconKey, Dealing, Dealt, OneTimeSecrets, Reveal, Round, SealedShare, Share,
    acknowledgements, contribution, degraded, faults, output, threshold,
};
use session_protocol::roster::BEACON_MEMBERS_MAX;

use crate::codec::{check, limit};
use crate::values::{PROOF, blob, challenge, proof};

const CHAIN: [u8; 32] = [0xc1; 32];
const PREVIOUS: [u8; 32] = [9; 32];

#[test]
fn golden_bytes() {
    check(
        &BeaconKey { root: [0x77; 32].into(), first: Epoch(5), count: 8 },
        "77*32 0000000000000005 00000008",
    );
    check(&Dealing { shares: [0x77; 32].into(), commitment: [0x88; 32].into() }, "77*32 88*32");
    check(&Reveal { secret: [0x77; 32], path: proof() }, &format!("77*32 {PROOF}"));
    check(&Share { value: [0x77; 32], path: proof() }, &format!("77*32 {PROOF}"));
    let sealed = SealedShare { ciphertext: challenge(), sealed: blob(b"sealed") };
    check(&sealed, "44*1088 00000006 7365616c6564");
    limit::<Reveal>("77*32 00*16", 64);
    limit::<SealedShare>("44*1088", 512);
}

/// Computed apart, from the bytes that docs/wire/beacon.md lists.
#[test]
fn contributions_and_outputs_are_fixed() {
    let joined = [b"LUX:beacon:s".as_slice(), &[1; 32], &PREVIOUS].concat();
    assert_eq!(contribution(&[1; 32], &PREVIOUS.into()), session_core::sha256(&joined));
    let epoch = 5_u64.to_be_bytes();
    let expected = digest(Domain::BeaconOutput, &[&epoch, &[1; 32], &[2; 32]]);
    assert_eq!(output(Epoch(5), &[[1; 32], [2; 32]]), expected);
    assert_eq!(
        degraded(Epoch(5), &PREVIOUS.into()),
        digest(Domain::BeaconDegraded, &[&epoch, &PREVIOUS])
    );
}

#[test]
fn an_output_depends_on_everything_and_nothing_cancels() {
    let outputs: Vec<Digest> = [
        output(Epoch(5), &[]),
        output(Epoch(5), &[[1; 32]]),
        output(Epoch(5), &[[1; 32], [1; 32]]),
        output(Epoch(5), &[[1; 32], [2; 32]]),
        output(Epoch(5), &[[2; 32], [1; 32]]),
        output(Epoch(6), &[[1; 32], [2; 32]]),
        degraded(Epoch(5), &Digest::default()),
    ]
    .to_vec();
    for (index, one) in outputs.iter().enumerate() {
        assert!(!outputs[index + 1..].contains(one), "output {index} twice");
    }
}

#[test]
fn how_many_may_be_bad() {
    for (dealers, bad) in [(0, 0), (1, 0), (3, 0), (4, 1), (6, 1), (7, 2), (21, 6), (64, 21)] {
        assert_eq!(faults(dealers), bad, "of {dealers}");
        assert_eq!(acknowledgements(dealers), dealers - bad);
        assert_eq!(threshold(dealers), bad + 1);
        // A valid dealing has enough honest holders, and the bad ones alone have too few.
        assert!(dealers == 0 || acknowledgements(dealers) - bad >= threshold(dealers));
    }
}

/// Calls `look` with every subset of `size` shares.
fn subsets(shares: &[[u8; 32]], size: usize, mut look: impl FnMut(&[(usize, [u8; 32])])) -> usize {
    let mut looked = 0;
    for set in 0_u32..1 << shares.len() {
        if set.count_ones() as usize == size {
            let chosen: Vec<_> =
                shares.iter().copied().enumerate().filter(|(n, _)| set >> n & 1 == 1).collect();
            look(&chosen);
            looked += 1;
        }
    }
    looked
}

#[test]
fn any_shares_give_the_same() {
    let secret = contribution(&[1; 32], &PREVIOUS.into());
    for (dealers, expected) in [(1, 1), (3, 3), (4, 6), (7, 35), (10, 210)] {
        let dealt = Dealt::new(&secret, dealers);
        let dealing = dealt.dealing();
        assert_eq!(dealing.verify(&secret, dealers), Ok(()));
        let shares: Vec<_> = (0..dealers).map(|place| dealt.share(place).unwrap()).collect();
        for (place, share) in shares.iter().enumerate() {
            assert_eq!(dealing.verify_share(place, share), Ok(()));
        }
        let values: Vec<_> = shares.iter().map(|share| share.value).collect();
        let looked = subsets(&values, threshold(dealers), |chosen| {
            assert_eq!(dealing.reconstruct(chosen, dealers), Some(secret), "{chosen:?}");
        });
        assert_eq!(looked, expected);
        assert_eq!(dealt.share(dealers), None);
    }
}

#[test]
fn too_few_shares_give_nothing() {
    let secret = contribution(&[1; 32], &PREVIOUS.into());
    let dealt = Dealt::new(&secret, 7);
    let shares: Vec<_> = (0..7).map(|place| dealt.share(place).unwrap().value).collect();
    subsets(&shares, 2, |chosen| assert_eq!(dealt.dealing().reconstruct(chosen, 7), None));
    // One share three times is one share; a place that is none is nothing.
    assert_eq!(dealt.dealing().reconstruct(&[(0, shares[0]); 3], 7), None);
    let strange = [(0, shares[0]), (1, shares[1]), (300, shares[2])];
    assert_eq!(dealt.dealing().reconstruct(&strange, 7), None);
    let with_noise = [strange[2], strange[0], strange[0], strange[1], (6, shares[6])];
    assert_eq!(dealt.dealing().reconstruct(&with_noise, 7), Some(secret));
}

/// A dealer that posts shares which are not those of its secret: whichever shares are shown, they
/// give nothing, so the choice of who shows one is no choice of the outcome.
#[test]
fn bad_dealings_are_rejected_for_every_subset() {
    const DEALERS: usize = 7;
    let secret = contribution(&[1; 32], &PREVIOUS.into());
    let other = contribution(&[2; 32], &PREVIOUS.into());
    let honest: Vec<[u8; 32]> = {
        let dealt = Dealt::new(&secret, DEALERS);
        (0..DEALERS).map(|place| dealt.share(place).unwrap().value).collect()
    };
    let polynomial = |coefficients: &[[u8; 32]]| -> Vec<[u8; 32]> {
        (1..=DEALERS as u8).map(|x| shamir::share(coefficients, x)).collect()
    };
    let commit = |secret: &[u8; 32]| digest(Domain::BeaconCommitment, &[secret]);
    let mut one_wrong = honest.clone();
    one_wrong[3] = [0; 32];
    let mut half = honest.clone();
    half[4..].copy_from_slice(&polynomial(&[other, [3; 32], [4; 32]])[4..]);
    let cases = [
        ("one share altered", one_wrong, secret),
        ("two halves of different secrets", half, secret),
        ("coefficients of its own choice", polynomial(&[secret, [3; 32], [4; 32]]), secret),
        ("too high a degree", polynomial(&[secret, [3; 32], [4; 32], [5; 32]]), secret),
        ("the commitment of another secret", honest, other),
        ("noise", (0..DEALERS as u8).map(|n| [n; 32]).collect(), secret),
    ];
    for (name, shares, committed) in cases {
        let tree = Tree::new(&shares);
        let dealing = Dealing { shares: tree.root(), commitment: commit(&committed) };
        let mut accepted = 0;
        let looked = subsets(&shares, threshold(DEALERS), |chosen| {
            for (place, value) in chosen {
                let path = tree.prove(*place as u64).unwrap();
                assert_eq!(dealing.verify_share(*place, &Share { value: *value, path }), Ok(()));
            }
            accepted += usize::from(dealing.reconstruct(chosen, DEALERS).is_some());
        });
        assert_eq!((accepted, looked), (0, 35), "{name}");
        assert_eq!(dealing.verify(&secret, DEALERS), Err(BadBeacon::Dealing), "{name}");
        assert_eq!(dealing.verify(&other, DEALERS), Err(BadBeacon::Dealing), "{name}");
    }
}

#[test]
fn shares_are_bound_to_dealing_and_place() {
    let dealt = Dealt::new(&[1; 32], 7);
    let dealing = dealt.dealing();
    let share = dealt.share(2).unwrap();
    assert_eq!(dealing.verify_share(3, &share), Err(BadBeacon::Place { got: 2, expected: 3 }));
    let mut moved = share.clone();
    moved.path.index = 3;
    assert!(matches!(dealing.verify_share(3, &moved), Err(BadBeacon::Share(_))));
    let altered = Share { value: [0; 32], ..share.clone() };
    assert!(matches!(dealing.verify_share(2, &altered), Err(BadBeacon::Share(_))));
    let others = Dealt::new(&[2; 32], 7).dealing();
    assert!(matches!(others.verify_share(2, &share), Err(BadBeacon::Share(_))));
}

fn secrets() -> OneTimeSecrets {
    OneTimeSecrets::new(&FakeIdentity::new(&[1; 32]), &CHAIN.into(), Epoch(10), 20)
}

#[test]
fn one_time_secrets_are_registered_once() {
    let secrets = secrets();
    let key = secrets.key();
    assert_eq!((key.first, key.count), (Epoch(10), 20));
    for epoch in [10, 17, 29] {
        let reveal = secrets.reveal(Epoch(epoch)).unwrap();
        assert_eq!(key.verify(Epoch(epoch), &reveal), Ok(()));
        let expected = BadBeacon::Place { got: epoch - 10, expected: 1 };
        assert_eq!(key.verify(Epoch(11), &reveal), Err(expected));
        let forged = Reveal { secret: [0; 32], ..reveal.clone() };
        assert!(matches!(key.verify(Epoch(epoch), &forged), Err(BadBeacon::Secret(_))));
        let mut moved = reveal;
        moved.path.index = 1;
        assert!(matches!(key.verify(Epoch(11), &moved), Err(BadBeacon::Secret(_))));
    }
    for epoch in [0, 9, 30, u64::MAX] {
        assert!(secrets.reveal(Epoch(epoch)).is_none());
        let expected =
            BadBeacon::NoSecret { first: Epoch(10), last: Epoch(29), epoch: Epoch(epoch) };
        assert_eq!(key.index(Epoch(epoch)), Err(expected));
    }
    let empty = BeaconKey { count: 0, ..key };
    assert!(matches!(empty.index(Epoch(10)), Err(BadBeacon::NoSecret { .. })));
    let endless = BeaconKey { first: Epoch(u64::MAX), count: u32::MAX, ..key };
    assert_eq!(endless.index(Epoch(u64::MAX)), Ok(0));
}

#[test]
fn secrets_belong_to_node_chain_and_epoch() {
    let alice = FakeIdentity::new(&[1; 32]);
    let key = |node: &FakeIdentity, chain: [u8; 32], first| {
        OneTimeSecrets::new(node, &chain.into(), Epoch(first), 4).key().root
    };
    let root = key(&alice, CHAIN, 10);
    assert_eq!(root, key(&alice, CHAIN, 10), "a restart finds them again");
    assert_ne!(root, key(&FakeIdentity::new(&[2; 32]), CHAIN, 10));
    assert_ne!(root, key(&alice, [1; 32], 10));
    assert_ne!(root, key(&alice, CHAIN, 11));
}

fn dealers<S: Signer>(signers: &[S]) -> Vec<NodeId> {
    let mut ids: Vec<_> = signers.iter().map(|signer| signer.public().node_id()).collect();
    ids.sort_unstable();
    ids
}

fn round(dealers: &[NodeId]) -> Round<'_> {
    Round { chain: CHAIN.into(), epoch: Epoch(5), previous: PREVIOUS.into(), dealers }
}

/// What a share is sealed for is what opens it, and nothing else.
fn sealed_shares_open_only_where_they_belong<S: Signer>(signers: &[S; 3]) {
    let ids = dealers(signers);
    let round = round(&ids);
    let [dealer, holder, other] = signers;
    let [dealer_id, holder_id, other_id] = [dealer, holder, other].map(|s| s.public().node_id());
    let dealt = Dealt::new(&contribution(&[1; 32], &round.previous), BEACON_MEMBERS_MAX);
    let share = dealt.share(BEACON_MEMBERS_MAX - 1).unwrap();
    let rng = &mut SeededEntropy::new(4);
    let sealed = round.seal(dealer, (&holder_id, holder.public().kem()), &share, rng);
    assert_eq!(round.open(holder, &dealer_id, &sealed), Ok(share));

    let closed = Err(BadBeacon::NotOpened);
    let later = Round { epoch: Epoch(6), ..round };
    assert_eq!(later.open(holder, &dealer_id, &sealed), closed, "another epoch");
    let elsewhere = Round { chain: [1; 32].into(), ..round };
    assert_eq!(elsewhere.open(holder, &dealer_id, &sealed), closed, "another chain");
    assert_eq!(round.open(holder, &other_id, &sealed), closed, "copied by another dealer");
    assert_eq!(round.open(other, &dealer_id, &sealed), closed, "for another holder");
    let mut altered = sealed.sealed.clone().into_vec();
    altered[0] ^= 1;
    let altered = SealedShare { sealed: blob(&altered), ..sealed.clone() };
    assert_eq!(round.open(holder, &dealer_id, &altered), closed, "altered");
    let short = SealedShare { sealed: blob(&[]), ..sealed.clone() };
    assert_eq!(round.open(holder, &dealer_id, &short), closed, "nothing");
    let rekeyed = SealedShare { ciphertext: KemCiphertext::from([0x44; 1088]), ..sealed };
    assert_eq!(round.open(holder, &dealer_id, &rekeyed), closed, "for another secret");
}

#[test]
fn sealed_shares() {
    sealed_shares_open_only_where_they_belong(&[1, 2, 3].map(|n| FakeIdentity::new(&[n; 32])));
    let rng = &mut SeededEntropy::new(1);
    sealed_shares_open_only_where_they_belong(&[(); 3].map(|()| Identity::generate(rng)));
}

#[test]
fn only_dealers_have_places() {
    let signers = [1, 2, 3].map(|n| FakeIdentity::new(&[n; 32]));
    let ids = dealers(&signers);
    let round = round(&ids);
    for (place, node) in ids.iter().enumerate() {
        assert_eq!(round.place(node), Ok(place));
    }
    let stranger = NodeId::from([0; 32]);
    assert_eq!(round.place(&stranger), Err(BadBeacon::NotADealer(stranger)));
}

/// A beacon of seven of whom two fall silent.
#[test]
fn silence_changes_nothing() {
    const DEALERS: usize = 7;
    let previous = Digest::from(PREVIOUS);
    let secrets: Vec<[u8; 32]> =
        (0..DEALERS as u8).map(|n| contribution(&[n; 32], &previous)).collect();
    let dealt: Vec<Dealt> = secrets.iter().map(|secret| Dealt::new(secret, DEALERS)).collect();
    let dealings: Vec<Dealing> = dealt.iter().map(Dealt::dealing).collect();
    let revealed = [0, 2, 3, 4, 6];
    let outcome = |holders: [usize; 3]| {
        let contributions: Vec<[u8; 32]> = (0..DEALERS)
            .filter_map(|dealer| {
                let dealing = &dealings[dealer];
                if revealed.contains(&dealer) {
                    return dealing
                        .verify(&secrets[dealer], DEALERS)
                        .is_ok()
                        .then_some(secrets[dealer]);
                }
                let shares: Vec<_> = holders
                    .iter()
                    .map(|place| (*place, dealt[dealer].share(*place).unwrap().value))
                    .collect();
                dealing.reconstruct(&shares, DEALERS)
            })
            .collect();
        assert_eq!(contributions.len(), DEALERS);
        output(Epoch(5), &contributions)
    };
    assert_eq!(outcome([0, 1, 2]), outcome([6, 4, 5]), "whoever shows the shares");
    assert_eq!(outcome([0, 1, 2]), output(Epoch(5), &secrets), "as if all had revealed");
}

/// Truncated and stretched shares from outside never panic.
#[test]
fn shares_of_any_bytes() {
    let bytes = Dealt::new(&[1; 32], 7).share(0).unwrap().to_bytes();
    let dealing = Dealt::new(&[1; 32], 7).dealing();
    for index in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[index] ^= 0x80;
        if let Ok(share) = Share::decode_exact(&altered) {
            assert!(dealing.verify_share(0, &share).is_err(), "byte {index}");
        }
    }
}

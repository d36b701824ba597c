//! X-Wing: the draft's vectors, and the same secret computed from its parts by other code.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::digest::{SHA3_256, digest};
use session_core::testing::check_round_trip;
use session_core::{Entropy as _, SeededEntropy, sha256};
use session_crypto::{InvalidKey, KemPublicKey, XWingCiphertext, XWingPublicKey, XWingSecret};

use crate::Fixed;

/// The test vectors of draft-connolly-cfrg-xwing-kem-06: seed, randomness of the encapsulation,
/// secret, and the SHA-256 of public key and ciphertext.
const VECTORS: [[&str; 5]; 3] = [
    [
        "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
        "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2\
         35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
        "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384",
        "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb",
        "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33",
    ],
    [
        "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
        "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdef\
         aee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d",
        "f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150",
        "c42ba5f8430d7d2c83739338203819f090e8303ce9c8b02107c272bfa5376916",
        "1661ea86d608a1924ba30840cb0a65f13ae051e3aec9cf0f064efc0bc92f2154",
    ],
    [
        "ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9",
        "22a96188d032675c8ac850933c7aff1533b94c834adbb69c6115bad4692d8619\
         f90b0cdf8a7b9c264029ac185b70b83f2801f2f4b3f70c593ea3aeeb613a7f1b",
        "953f7f4e8c5b5049bdc771d1dffada0dd961477d1a2ae0988baa7ea6898d893f",
        "6b080d6b84f095342092fa7a22423e58bd681397ad0ef00eac92bd254db4fa95",
        "d3ca5578500344b5896cffc4fd740c9311946b82951df155e6fd86a7966b43c6",
    ],
];

#[test]
fn vectors_of_the_draft() {
    for [seed, randomness, secret, public_hash, ciphertext_hash] in VECTORS {
        let bytes = |text: &str| hex::decode(text).expect("hex");
        let key = XWingSecret::from_seed(&bytes(seed).try_into().expect("32 bytes"));
        assert_eq!(hex::encode(sha256(key.public().as_ref())), public_hash);
        let (ciphertext, sent) = key.public().encapsulate(&mut Fixed(&bytes(randomness)));
        assert_eq!(hex::encode(sha256(ciphertext.as_ref())), ciphertext_hash);
        assert_eq!(hex::encode(sent.expose()), secret);
        assert_eq!(hex::encode(key.decapsulate(&ciphertext).expose()), secret);
    }
}

/// The draft's definition, over libcrux' ML-KEM and aws-lc's X25519 and SHA-3.
#[test]
fn encapsulation_from_its_parts() {
    let mut rng = SeededEntropy::new(5);
    for _ in 0..16 {
        let public = XWingSecret::from_seed(&rng.bytes32()).public();
        let (lattice, curve) = public.as_bytes().split_at(KemPublicKey::SIZE);
        let (first, second) = (rng.bytes32(), rng.bytes32());
        let lattice = KemPublicKey::try_from(lattice).expect("a key");
        let (lattice_ct, lattice_secret) = lattice.encapsulate(&mut Fixed(&first));
        let ephemeral = PrivateKey::from_private_key(&X25519, &second).expect("a key");
        let curve_ct = ephemeral.compute_public_key().expect("a key");
        let theirs = UnparsedPublicKey::new(&X25519, curve);
        let curve_secret = agree(&ephemeral, theirs, (), |secret| Ok(secret.to_vec()));
        let joined = [
            &lattice_secret.expose()[..],
            &curve_secret.expect("agrees"),
            curve_ct.as_ref(),
            curve,
            br"\.//^\",
        ];

        let (ciphertext, secret) = public.encapsulate(&mut Fixed(&[first, second].concat()));
        assert_eq!(ciphertext.as_ref(), [lattice_ct.as_ref(), curve_ct.as_ref()].concat());
        assert_eq!(secret.expose()[..], *digest(&SHA3_256, &joined.concat()).as_ref());
    }
}

/// RustCrypto's X-Wing opens what ours makes, and the other way round.
#[test]
fn another_implementation_agrees() {
    use x_wing::{Decapsulate as _, Decapsulator as _, KeyExport as _};

    let mut rng = SeededEntropy::new(8);
    for _ in 0..32 {
        let seed = rng.bytes32();
        let (ours, theirs) = (XWingSecret::from_seed(&seed), x_wing::DecapsulationKey::from(seed));
        assert_eq!(ours.public().as_ref(), theirs.encapsulation_key().to_bytes().as_slice());
        let (ciphertext, secret) = ours.public().encapsulate(&mut rng);
        let opened = theirs.decapsulate(ciphertext.as_bytes().into());
        assert_eq!(secret.expose()[..], opened[..]);

        let randomness = [rng.bytes32(), rng.bytes32()].concat();
        let key = theirs.encapsulation_key();
        let (ciphertext, secret) =
            key.encapsulate_deterministic(randomness.as_slice().try_into().expect("64 bytes"));
        let ciphertext = XWingCiphertext::from(ciphertext.0);
        assert_eq!(ours.decapsulate(&ciphertext).expose()[..], secret[..]);

        // Noise opens to the same unrelated secret, a point of low order included.
        let mut noise = [0; XWingCiphertext::SIZE];
        rng.fill(&mut noise[..1088]);
        let noise = XWingCiphertext::from(noise);
        let theirs = theirs.decapsulate(noise.as_bytes().into());
        assert_eq!(ours.decapsulate(&noise).expose()[..], theirs[..]);
    }
}

#[test]
fn every_changed_byte_gives_another_secret() {
    let mut rng = SeededEntropy::new(6);
    let key = XWingSecret::from_seed(&rng.bytes32());
    let (ciphertext, sent) = key.public().encapsulate(&mut rng);
    for place in (0..XWingCiphertext::SIZE).step_by(16).chain([1119]) {
        let mut bytes = *ciphertext.as_bytes();
        bytes[place] ^= 1;
        let got = key.decapsulate(&XWingCiphertext::from(bytes));
        assert_ne!(got.expose(), sent.expose(), "byte {place}");
    }
    let other = XWingSecret::from_seed(&rng.bytes32());
    assert_ne!(other.decapsulate(&ciphertext).expose(), sent.expose());
}

#[test]
fn keys_and_ciphertexts_as_bytes() {
    let mut rng = SeededEntropy::new(7);
    let key = XWingSecret::from_seed(&[7; 32]);
    let public = key.public();
    assert_eq!(XWingSecret::from_seed(&[7; 32]).public(), public, "a seed has one key");
    assert_eq!(XWingPublicKey::try_from(public.as_ref()), Ok(public.clone()));
    check_round_trip(&public);
    check_round_trip(&public.encapsulate(&mut rng).0);
    assert!(matches!(
        XWingPublicKey::try_from(&public.as_bytes()[1..]),
        Err(InvalidKey::Length { got: 1215, expected: 1216, .. })
    ));
    let mut bytes = *public.as_bytes();
    bytes[..2].fill(0xff);
    assert!(matches!(XWingPublicKey::new(&bytes), Err(InvalidKey::Malformed { .. })));
    assert_eq!(format!("{key:?}"), "XWingSecret");
}

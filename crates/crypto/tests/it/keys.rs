//! Identities: determinism, import of malformed keys, encodings, and what is printed.

use session_core::{Decode as _, DecodeError, Domain, Encode as _, SeededEntropy};
use session_crypto::{
    BadSignature, DsaSecretKey, Identity, InvalidKey, KemPublicKey, KemSecretKey, PreparedKemKey,
    PublicIdentity, RealVerifier, Signer, Verifier, hash,
};

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

struct Parts {
    kem_secret: Vec<u8>,
    dsa_secret: Vec<u8>,
    kem_public: Vec<u8>,
    dsa_public: Vec<u8>,
}

impl Parts {
    fn of(identity: &Identity) -> Self {
        Self {
            kem_secret: identity.kem_secret().expose().to_vec(),
            dsa_secret: identity.dsa_secret().expose().to_vec(),
            kem_public: identity.public().kem().as_bytes().to_vec(),
            dsa_public: identity.public().dsa().as_bytes().to_vec(),
        }
    }

    fn import(&self) -> Result<Identity, InvalidKey> {
        Identity::import(&self.kem_secret, &self.dsa_secret, &self.kem_public, &self.dsa_public)
    }
}

#[test]
fn a_seed_gives_one_identity_for_ever() {
    assert_eq!(identity(7).public(), identity(7).public());
    assert_ne!(identity(7).public(), identity(8).public());
    assert_eq!(identity(7).public().account_ref().to_string(), GOLDEN_ID);
    let public = identity(7).public().clone();
    assert_eq!(public.account_id().as_bytes(), public.node_id().as_bytes());
}

const GOLDEN_ID: &str = "0793643dee19f2817eccd302919e928d297e55aa51a1a6170a886ab523791ca56c";

#[test]
fn export_and_import_keep_the_identity() {
    let mut rng = SeededEntropy::new(5);
    let original = Identity::generate(&mut rng);
    let copy = Parts::of(&original).import().expect("valid");
    assert_eq!(copy.public(), original.public());
    let (ciphertext, secret) = PreparedKemKey::new(copy.public().kem()).encapsulate(&mut rng);
    assert_eq!(copy.decapsulate(&ciphertext).expose(), secret.expose());
    let signature = copy.sign(Domain::Handshake, b"m", &mut rng);
    assert_eq!(
        RealVerifier.verify(original.public().dsa(), Domain::Handshake, b"m", &signature),
        Ok(())
    );
}

#[test]
fn keys_of_two_identities_do_not_join() {
    let other = Parts::of(&identity(2));
    let mut parts = Parts::of(&identity(1));
    parts.kem_public.clone_from(&other.kem_public);
    assert!(matches!(parts.import(), Err(InvalidKey::Mismatch { field: "KemSecretKey", .. })));
    let mut parts = Parts::of(&identity(1));
    parts.dsa_public.clone_from(&other.dsa_public);
    assert!(matches!(parts.import(), Err(InvalidKey::Mismatch { field: "DsaSecretKey", .. })));
    // The matrix seed agrees, the rest of the key is another's.
    let mut parts = Parts::of(&identity(1));
    parts.dsa_public[32..].copy_from_slice(&other.dsa_public[32..]);
    assert!(matches!(parts.import(), Err(InvalidKey::Mismatch { field: "DsaSecretKey", .. })));
}

#[test]
fn altered_secret_keys_are_refused_and_never_panic() {
    let original = Parts::of(&identity(1));
    // The rejection secret z, the last 32 bytes, is free: any value is a valid key.
    for at in (0..KemSecretKey::SIZE - 32).step_by(97) {
        let mut bytes = original.kem_secret.clone();
        bytes[at] ^= 0x10;
        assert!(KemSecretKey::try_from(&*bytes).is_err(), "KEM byte {at}");
    }
    // Bytes 32 to 64 are the nonce key K, free as well. The matrix seed, the public key's hash and
    // s1 (bytes 128 to 768) decide every signature; errors in s2 and t0 are found by chance.
    for at in (0..32).chain(64..128).chain((128..768).step_by(7)) {
        let mut parts = Parts::of(&identity(1));
        parts.dsa_secret[at] ^= 0x11;
        assert!(parts.import().is_err(), "DSA byte {at}");
    }
    for at in (768..DsaSecretKey::SIZE).step_by(61) {
        let mut parts = Parts::of(&identity(1));
        parts.dsa_secret[at] ^= 0x11;
        if let Ok(imported) = parts.import() {
            imported
                .dsa_secret()
                .sign_deterministic(&[], b"m")
                .expect("it signs, it may not verify");
        }
    }
    for fill in [0, 0x55, 0xff] {
        assert!(KemSecretKey::new(&[fill; KemSecretKey::SIZE]).is_err());
        let mut parts = Parts::of(&identity(1));
        parts.dsa_secret.fill(fill);
        assert!(parts.import().is_err());
    }
    let mut unreduced = identity(1).public().kem().as_bytes().to_vec();
    unreduced[..3].fill(0xff);
    assert!(matches!(
        KemPublicKey::try_from(&*unreduced),
        Err(InvalidKey::Malformed { field: "KemPublicKey", .. })
    ));
}

#[test]
fn wrong_lengths_name_the_key_and_both_lengths() {
    let mut parts = Parts::of(&identity(1));
    parts.dsa_secret.pop();
    assert_eq!(
        parts.import().err(),
        Some(InvalidKey::Length { field: "DsaSecretKey", got: 4031, expected: 4032 })
    );
    assert!(KemSecretKey::try_from(&[][..]).is_err());
}

#[test]
fn public_identities_have_one_encoding() {
    let public = identity(1).public().clone();
    let bytes = public.to_bytes();
    assert_eq!(bytes.len(), PublicIdentity::SIZE);
    assert_eq!(PublicIdentity::decode_exact(&bytes).as_ref(), Ok(&public));
    for cut in 0..bytes.len() {
        assert!(PublicIdentity::decode_exact(&bytes[..cut]).is_err(), "{cut}");
    }
    let longer = [&*bytes, &[0]].concat();
    assert_eq!(PublicIdentity::decode_exact(&longer), Err(DecodeError::Trailing { left: 1 }));
    let mut unreduced = bytes;
    unreduced[..3].fill(0xff);
    assert!(matches!(
        PublicIdentity::decode_exact(&unreduced),
        Err(DecodeError::Invalid { field: "KemPublicKey", .. })
    ));
}

#[test]
fn signatures_are_bound_to_domain_message_and_key() {
    let mut rng = SeededEntropy::new(6);
    let (alice, bob) = (identity(1), identity(2));
    let signature = alice.sign(Domain::Handshake, b"message", &mut rng);
    let verify = |signer: &Identity, domain, message: &[u8]| {
        RealVerifier.verify(signer.public().dsa(), domain, message, &signature)
    };
    assert_eq!(verify(&alice, Domain::Handshake, b"message"), Ok(()));
    assert_eq!(verify(&bob, Domain::Handshake, b"message"), Err(BadSignature));
    assert_eq!(verify(&alice, Domain::HandshakeProof, b"message"), Err(BadSignature));
    assert_eq!(verify(&alice, Domain::Handshake, b"massage"), Err(BadSignature));
    // A raw signature of the seeds' kind cannot pass for one of ours.
    let raw = session_crypto::seed::sign(&alice, b"message");
    let key = alice.public().dsa();
    assert_eq!(RealVerifier.verify(key, Domain::Handshake, b"message", &raw), Err(BadSignature));
}

#[test]
fn hedged_signatures_differ_and_deterministic_ones_do_not() {
    let mut rng = SeededEntropy::new(7);
    let alice = identity(1);
    let hedged = |rng: &mut SeededEntropy| alice.sign_raw(b"c", b"m", rng).expect("short");
    assert_ne!(hedged(&mut rng), hedged(&mut rng));
    let secret = alice.dsa_secret();
    assert_eq!(secret.sign_deterministic(b"c", b"m"), secret.sign_deterministic(b"c", b"m"));
    assert!(secret.sign_deterministic(&[0; 255], b"m").is_ok());
    let error = secret.sign_deterministic(&[0; 256], b"m").expect_err("too long");
    assert_eq!(error.to_string(), "the signature context holds 256 bytes, the limit is 255");
    let signature = secret.sign_deterministic(b"c", b"m").expect("short");
    let key = alice.public().dsa();
    assert!(key.verify(b"c", b"m", &signature).is_ok());
    assert!(key.verify(b"d", b"m", &signature).is_err());
    assert!(key.verify(&[0; 256], b"m", &signature).is_err());
}

#[test]
fn nothing_secret_is_printed() {
    let alice = identity(1);
    let (ciphertext, secret) = alice.public().kem().encapsulate(&mut SeededEntropy::new(8));
    assert_eq!(format!("{secret:?}"), "SharedSecret");
    assert_eq!(format!("{:?}", alice.kem_secret()), "KemSecretKey");
    assert_eq!(format!("{:?}", alice.dsa_secret()), "DsaSecretKey");
    assert_eq!(format!("{:?}", hash::kdf(Domain::EnvelopeKey, b"", &[])), "SymmetricKey");
    let id = hex::encode(&alice.public().account_id().as_bytes()[..4]);
    assert_eq!(format!("{alice:?}"), format!("Identity({id})"));
    assert_eq!(format!("{:?}", alice.public()), format!("PublicIdentity({id})"));
    let start = hex::encode(&ciphertext.as_bytes()[..4]);
    assert_eq!(format!("{ciphertext:?}"), format!("KemCiphertext({start})"));
}

#[test]
fn identities_are_shared_between_threads() {
    fn shared<T: Send + Sync + ?Sized>() {}
    shared::<Identity>();
    shared::<PreparedKemKey>();
    shared::<dyn Signer>();
    shared::<dyn Verifier>();
}

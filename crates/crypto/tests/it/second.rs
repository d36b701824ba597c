//! Against a second implementation, aws-lc: each opens and verifies what the other made.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::kem::{self, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::signature::{
    KeyPair as _, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use session_core::SeededEntropy;
use session_crypto::{
    DsaPublicKey, DsaSecretKey, Identity, KemCiphertext, KemPublicKey, KemSecretKey, LegacyId,
    PreparedKemKey, Signature,
};

#[test]
fn ml_kem_768_both_ways() {
    let mut rng = SeededEntropy::new(2);
    for _ in 0..16 {
        let ours = Identity::generate(&mut rng);
        let theirs = DecapsulationKey::generate(&ML_KEM_768).expect("generates");

        // They encapsulate to us.
        let public = EncapsulationKey::new(&ML_KEM_768, ours.public().kem().as_ref()).expect("key");
        let (ciphertext, secret) = public.encapsulate().expect("encapsulates");
        let ciphertext = KemCiphertext::try_from(ciphertext.as_ref()).expect("1088 bytes");
        assert_eq!(ours.decapsulate(&ciphertext).expose(), secret.as_ref());

        // We encapsulate to them, with the key as bytes and prepared.
        let public = theirs.encapsulation_key().expect("key").key_bytes().expect("bytes");
        let public = KemPublicKey::try_from(public.as_ref()).expect("valid");
        let prepared = PreparedKemKey::new(&public);
        for (ciphertext, secret) in [public.encapsulate(&mut rng), prepared.encapsulate(&mut rng)] {
            let opened = theirs.decapsulate(kem::Ciphertext::from(ciphertext.as_ref()));
            assert_eq!(opened.expect("decapsulates").as_ref(), secret.expose());
        }
    }
}

#[test]
fn ml_kem_768_secret_keys_are_exchanged() {
    let mut rng = SeededEntropy::new(3);
    let ours = Identity::generate(&mut rng);
    let theirs = DecapsulationKey::new(&ML_KEM_768, ours.kem_secret().expose()).expect("imports");
    let (ciphertext, secret) = ours.public().kem().encapsulate(&mut rng);
    let opened = theirs.decapsulate(kem::Ciphertext::from(ciphertext.as_ref())).expect("opens");
    assert_eq!(opened.as_ref(), secret.expose());

    let exported = DecapsulationKey::generate(&ML_KEM_768).expect("generates");
    let exported = exported.key_bytes().expect("bytes");
    KemSecretKey::try_from(exported.as_ref()).expect("their secret key is valid here");
}

#[test]
fn ml_dsa_65_both_ways() {
    let mut rng = SeededEntropy::new(4);
    for round in 0..16u8 {
        let message = [round; 100];
        let seed = [round; 32];
        let (secret, public) = DsaSecretKey::from_seed(&seed);
        let theirs = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seed).expect("from seed");
        assert_eq!(theirs.public_key().as_ref(), public.as_ref(), "one seed, one key");

        let ours = secret.sign(&[], &message, &mut rng).expect("no context");
        UnparsedPublicKey::new(&ML_DSA_65, public.as_ref())
            .verify(&message, ours.as_ref())
            .expect("they verify ours");

        let mut signature = [0; Signature::SIZE];
        theirs.sign(&message, &mut signature).expect("signs");
        public.verify(&[], &message, &Signature::from(signature)).expect("we verify theirs");
        signature[17] ^= 4;
        assert!(public.verify(&[], &message, &Signature::from(signature)).is_err());
    }
}

#[test]
fn ml_dsa_65_secret_keys_are_exchanged() {
    let (secret, public) = DsaSecretKey::from_seed(&[9; 32]);
    let theirs = PqdsaKeyPair::from_raw_private_key(&ML_DSA_65_SIGNING, secret.expose());
    let theirs = theirs.expect("imports");
    assert_eq!(DsaPublicKey::try_from(theirs.public_key().as_ref()), Ok(public));
}

#[test]
fn legacy_ids_are_x25519_public_keys() {
    for byte in 0..8 {
        let seed = [byte; 32];
        // An Ed25519 seed's scalar is the first half of its SHA-512; X25519 clamps it likewise.
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &seed);
        let key = PrivateKey::from_private_key(&X25519, &hash.as_ref()[..32]).expect("key");
        let public = key.compute_public_key().expect("public key");
        assert_eq!(LegacyId::from_ed25519_seed(&seed).as_bytes()[..], *public.as_ref());
    }
}

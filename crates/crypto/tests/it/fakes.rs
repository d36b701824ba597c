//! The simulator's identities behave like real ones toward honest code.

use session_core::{Decode as _, Domain, Encode as _, SeededEntropy};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{BadSignature, PublicIdentity, Signer, Verifier, envelope};

#[test]
fn fake_signatures_verify_for_their_key_domain_and_message_only() {
    let mut rng = SeededEntropy::new(1);
    let (alice, bob) = (FakeIdentity::generate(&mut rng), FakeIdentity::generate(&mut rng));
    let signature = alice.sign(Domain::Handshake, b"m", &mut rng);
    let verify = |who: &FakeIdentity, domain, message: &[u8]| {
        FakeVerifier.verify(who.public().dsa(), domain, message, &signature)
    };
    assert_eq!(verify(&alice, Domain::Handshake, b"m"), Ok(()));
    assert_eq!(verify(&bob, Domain::Handshake, b"m"), Err(BadSignature));
    assert_eq!(verify(&alice, Domain::StorageReceipt, b"m"), Err(BadSignature));
    assert_eq!(verify(&alice, Domain::Handshake, b"n"), Err(BadSignature));
    let real = session_crypto::RealVerifier;
    let checked = real.verify(alice.public().dsa(), Domain::Handshake, b"m", &signature);
    assert_eq!(checked, Err(BadSignature), "the real verifier is not fooled");
}

#[test]
fn fake_secrets_reach_only_their_recipient() {
    let mut rng = SeededEntropy::new(2);
    let (alice, bob) = (FakeIdentity::new(&[1; 32]), FakeIdentity::new(&[2; 32]));
    let (ciphertext, secret) = alice.encapsulate(bob.public().kem(), &mut rng);
    assert_eq!(bob.decapsulate(&ciphertext).expose(), secret.expose());
    assert_ne!(alice.decapsulate(&ciphertext).expose(), secret.expose());
}

#[test]
fn fake_identities_encode_and_exchange_envelopes() {
    let mut rng = SeededEntropy::new(3);
    let (alice, bob) = (FakeIdentity::new(&[1; 32]), FakeIdentity::new(&[2; 32]));
    let bytes = alice.public().to_bytes();
    assert_eq!(PublicIdentity::decode_exact(&bytes).as_ref(), Ok(alice.public()));
    let sealed = envelope::seal(&alice, bob.public(), b"", b"hi", &mut rng).expect("short");
    let opened = envelope::open_with(&bob, &FakeVerifier, b"", &sealed).expect("opens");
    assert_eq!((&*opened.content, &opened.sender), (&b"hi"[..], alice.public()));
    assert!(envelope::open_with(&alice, &FakeVerifier, b"", &sealed).is_err());
}

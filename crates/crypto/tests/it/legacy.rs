//! Keys of classical accounts: what they sign, and what is refused.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use session_core::{Domain, digest};
use session_crypto::{BadSignature, LegacyId, LegacyKey, legacy};

const MESSAGE: &[u8] = b"statement";

#[test]
fn a_second_implementation_agrees() {
    for byte in 0..8 {
        let key = LegacyKey::from_seed(&[byte; 32]);
        assert_eq!(LegacyId::from_ed25519_public(&key.public()), Ok(key.id()));
        assert_eq!(LegacyId::from_ed25519_seed(&[byte; 32]), key.id());
        let signature = key.sign(Domain::LegacyLink, MESSAGE);
        let signed = digest(Domain::LegacyLink, &[MESSAGE]);
        let theirs = UnparsedPublicKey::new(&ED25519, key.public());
        theirs.verify(signed.as_bytes(), &signature).expect("their code verifies it");
        assert_eq!(legacy::verify(&key.public(), Domain::LegacyLink, MESSAGE, &signature), Ok(()));
    }
}

#[test]
fn anything_changed_is_refused() {
    let key = LegacyKey::from_seed(&[1; 32]);
    let signature = key.sign(Domain::LegacyLink, MESSAGE);
    let verify = |public: &[u8; 32], domain, message: &[u8], signature: &[u8; 64]| {
        legacy::verify(public, domain, message, signature)
    };
    for place in 0..64 {
        let mut bytes = signature;
        bytes[place] ^= 1;
        assert_eq!(verify(&key.public(), Domain::LegacyLink, MESSAGE, &bytes), Err(BadSignature));
    }
    for place in 0..32 {
        let mut public = key.public();
        public[place] ^= 1;
        assert_eq!(verify(&public, Domain::LegacyLink, MESSAGE, &signature), Err(BadSignature));
    }
    assert!(verify(&key.public(), Domain::LegacyLink, b"other", &signature).is_err());
    assert!(verify(&key.public(), Domain::DeviceLink, MESSAGE, &signature).is_err());
}

/// A key of order one verifies a signature of zeros over everything, unless that is refused.
#[test]
fn keys_of_low_order_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    for message in 0..16u8 {
        let refused = legacy::verify(&identity, Domain::LegacyLink, &[message], &signature);
        assert_eq!(refused, Err(BadSignature));
    }
    assert_eq!(format!("{:?}", LegacyKey::from_seed(&[1; 32])), "LegacyKey");
}

use rustls::{CipherSuite, NamedGroup};

use super::{PROVIDER, PUBLIC_KEY_BYTES, Verifier, key_of, spki};

fn key() -> Box<[u8; PUBLIC_KEY_BYTES]> {
    let mut nth = 0_u32;
    Box::new([(); PUBLIC_KEY_BYTES].map(|()| {
        nth += 1;
        (nth % 251) as u8
    }))
}

#[test]
fn the_wrapping_is_what_rustls_builds() {
    let built =
        rustls::sign::public_key_to_spki(&rustls::pki_types::alg_id::ML_DSA_65, key().as_slice());
    assert_eq!(spki(&key()), built.as_ref());
    assert_eq!(built.as_ref().len(), 1974);
}

#[test]
fn a_wrapped_key_comes_back_and_nothing_else_does() {
    let good = spki(&key());
    assert_eq!(key_of(&good), Some(key()));
    for length in 0..good.len() {
        assert_eq!(key_of(&good[..length]), None, "cut to {length}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(key_of(&longer), None);
    for at in 0..22 {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert_eq!(key_of(&changed), None, "byte {at} of the header changed");
    }
}

#[test]
fn only_the_hybrid_and_only_tls_1_3_are_offered() {
    let groups: Vec<_> = PROVIDER.kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(groups, [NamedGroup::X25519MLKEM768]);
    let suites: Vec<_> = PROVIDER.cipher_suites.iter().map(|suite| suite.suite()).collect();
    assert!(suites.contains(&CipherSuite::TLS13_AES_128_GCM_SHA256));
    assert!(PROVIDER.cipher_suites.iter().all(|suite| suite.tls13().is_some()));
}

#[test]
fn the_expected_key_is_the_only_one() {
    let verifier = Verifier::new(Some(key()));
    assert!(verifier.check_key(&spki(&key()), &[]).is_ok());
    assert!(!verifier.wrong_key_seen());
    let mut other = key();
    other[1951] ^= 1;
    assert!(verifier.check_key(&spki(&other), &[]).is_err());
    assert!(verifier.wrong_key_seen());
    let garbled = Verifier::new(Some(key()));
    assert!(garbled.check_key(b"garbage", &[]).is_err());
    assert!(!garbled.wrong_key_seen(), "a malformed key is another fault than a wrong one");
}

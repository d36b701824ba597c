use session_core::SeededEntropy;

use super::*;

#[test]
fn hash_functions_are_the_standard_ones() {
    // FIPS 180-4 example, RFC 4231 test case 2, FIPS 202 SHAKE-256 of nothing.
    assert_eq!(hex::encode(&hash(b"abc")[..8]), "cb00753f45a35e8b");
    assert_eq!(
        hex::encode(&hmac(b"Jefe", b"what do ya want for nothing?")[..8]),
        "af45d2e376484031"
    );
    assert_eq!(hex::encode(libcrux_sha3::shake256::<8>(b"")), "46b9dd2b0ba88d13");
}

#[test]
fn only_the_holder_opens_and_only_unaltered() {
    let mut rng = SeededEntropy::new(1);
    let (key, public) = PrivateKey::derive(b"material");
    let (other, _) = PrivateKey::derive(b"other material");
    let (encapsulated, sealed) = seal(&public, b"info", b"aad", b"hello", &mut rng);
    assert_eq!(open(&key, &encapsulated, b"info", b"aad", &sealed).unwrap(), b"hello");
    assert_eq!(open(&other, &encapsulated, b"info", b"aad", &sealed), Err(NotOpened));
    assert_eq!(open(&key, &encapsulated, b"else", b"aad", &sealed), Err(NotOpened));
    assert_eq!(open(&key, &encapsulated, b"info", b"else", &sealed), Err(NotOpened));
    for place in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[place] ^= 1;
        assert_eq!(open(&key, &encapsulated, b"info", b"aad", &altered), Err(NotOpened));
    }
    assert_eq!(open(&key, &encapsulated, b"info", b"aad", &sealed[..15]), Err(NotOpened));
}

#[test]
fn both_sides_export_the_same() {
    let mut rng = SeededEntropy::new(2);
    let (key, public) = PrivateKey::derive(b"material");
    let (encapsulated, sent) = send_secret(&public, b"info", b"use", 48, &mut rng).unwrap();
    let got = receive_secret(&key, &encapsulated, b"info", b"use", 48).unwrap();
    assert_eq!(sent, got);
    assert_ne!(*sent, *receive_secret(&key, &encapsulated, b"info", b"else", 48).unwrap());
    let limit = 255 * HASH_SIZE;
    assert!(receive_secret(&key, &encapsulated, b"", b"", limit).is_ok());
    let asked = limit + 1;
    assert_eq!(receive_secret(&key, &encapsulated, b"", b"", asked), Err(TooLong { asked }));
}

//! Published answers for BLAKE2b, BLAKE3, Ed25519 to X25519, and the text forms of ids.

use session_core::{AccountId, Domain};
use session_crypto::account::ParseAccountError;
use session_crypto::hash::blake3;
use session_crypto::legacy::ParseLegacyError;
use session_crypto::{
    AccountRef, LegacyId, StreamHash, SymmetricKey, blake2b_256, equal, kdf, mac,
};

fn unhex(text: &str) -> [u8; 32] {
    hex::decode(text).expect("hex").try_into().expect("32 bytes")
}

#[test]
fn blake2b_256_published_answers() {
    // From the BLAKE2 package of the RFC's authors (`b2sum -l 256`).
    let cases: [(&[u8], &str); 3] = [
        (b"", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"),
        (b"abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"),
        (
            b"The quick brown fox jumps over the lazy dog",
            "01718cec35cd3d796dd00020e0bfecb473ad23457d063b75eff29c0ffa2e58a9",
        ),
    ];
    for (input, answer) in cases {
        assert_eq!(blake2b_256(&[input]), unhex(answer));
        let (left, right) = input.split_at(input.len() / 2);
        assert_eq!(blake2b_256(&[left, right]), unhex(answer), "parts are concatenated");
    }
}

#[test]
fn blake2b_self_test_of_rfc_7693() {
    // Appendix E: a hash over hashes of many output and input lengths, without and with a key.
    let mut all = Vec::new();
    for output in [20, 32, 48, 64] {
        for input in [0, 3, 128, 129, 255, 1024] {
            let (message, key) = (sequence(input), sequence(output));
            let mut params = blake2b_simd::Params::new();
            params.hash_length(output);
            if output == 32 {
                all.extend_from_slice(&blake2b_256(&[&message]));
            } else {
                all.extend_from_slice(params.hash(&message).as_bytes());
            }
            all.extend_from_slice(params.key(&key).hash(&message).as_bytes());
        }
    }
    let answer = unhex("c23a7800d98123bd10f506c61e29da5603d763b8bbad2e737f5e765a7bccd475");
    assert_eq!(blake2b_256(&[&all]), answer);
}

/// `selftest_seq` of that appendix, seeded with its length: a Fibonacci generator.
fn sequence(length: usize) -> Vec<u8> {
    let seed = u32::try_from(length).expect("small");
    let (mut a, mut b) = (0xdead_4bad_u32.wrapping_mul(seed), 1u32);
    let step = |_| {
        (a, b) = (b, a.wrapping_add(b));
        b.to_be_bytes()[0]
    };
    (0..length).map(step).collect()
}

#[test]
fn blake3_published_answers() {
    // From the official test vectors: the input is 0, 1, … 250, 0, … of the given length.
    let cases = [
        (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
        (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
    ];
    for (length, answer) in cases {
        let input: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        assert_eq!(blake3(&input), unhex(answer), "{length}");
    }
}

#[test]
fn kdf_and_mac_separate_their_inputs() {
    let base = kdf(Domain::EnvelopeKey, b"secret", &[b"ab", b"c"]);
    for other in [
        kdf(Domain::AttachmentChunk, b"secret", &[b"ab", b"c"]),
        kdf(Domain::EnvelopeKey, b"secret!", &[b"ab", b"c"]),
        kdf(Domain::EnvelopeKey, b"secret", &[b"a", b"bc"]),
        kdf(Domain::EnvelopeKey, b"secret", &[b"abc"]),
    ] {
        assert!(!equal(base.expose(), other.expose()));
    }
    let key = SymmetricKey::from([1; 32]);
    let code = mac(Domain::Handshake, &key, &[b"ab", b"c"]);
    assert_eq!(code, mac(Domain::Handshake, &key, &[b"ab", b"c"]));
    assert_ne!(code, mac(Domain::HandshakeProof, &key, &[b"ab", b"c"]));
    assert_ne!(code, mac(Domain::Handshake, &key, &[b"a", b"bc"]));
    assert_ne!(code, mac(Domain::Handshake, &SymmetricKey::from([2; 32]), &[b"ab", b"c"]));
}

#[test]
fn equal_compares_lengths_and_every_byte() {
    assert!(equal(b"", b"") && equal(b"abc", b"abc"));
    assert!(!equal(b"abc", b"abd") && !equal(b"abc", b"ab") && !equal(b"", b"a"));
}

#[test]
fn stream_hash_ignores_how_data_is_cut() {
    let mut whole = StreamHash::new(Domain::Attachment);
    whole.update(b"one two three");
    let mut pieces = StreamHash::new(Domain::Attachment);
    pieces.update(b"one ");
    pieces.update(b"two three");
    assert_eq!(whole.finish(), pieces.finish());
    assert_ne!(whole.finish(), StreamHash::new(Domain::Attachment).finish());
    let mut other = StreamHash::new(Domain::AttachmentChunk);
    other.update(b"one two three");
    assert_ne!(whole.finish(), other.finish());
}

#[test]
fn legacy_id_of_a_known_seed() {
    // The account that libsession's own tests use.
    let mut seed = [0; 32];
    hex::decode_to_slice("0123456789abcdef0123456789abcdef", &mut seed[..16]).expect("hex");
    let id = LegacyId::from_ed25519_seed(&seed);
    let text = "05d2ad010eeb72d72e561d9de7bd7b6989af77dcabffa03a5111a6c859ae5c3a72";
    assert_eq!(id.to_string(), text);
    assert_eq!(text.parse(), Ok(id));
    let public = unhex("4cb76fdc6d32278e3f83dbf608360ecc6b65727934b85d2fb86862ff98c46ab7");
    assert_eq!(LegacyId::from_ed25519_public(&public), Ok(id));
}

#[test]
fn legacy_ids_that_are_none() {
    let text = |hex: &str| format!("05{hex}").parse::<LegacyId>();
    for low_order in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        assert_eq!(text(low_order), Err(ParseLegacyError::NotAKey), "{low_order}");
    }
    let not_reduced = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
    assert_eq!(text(not_reduced), Err(ParseLegacyError::NotAKey));
    let base_point = "0900000000000000000000000000000000000000000000000000000000000000";
    assert!(text(base_point).is_ok());
    assert_eq!(text("00"), Err(ParseLegacyError::Length { got: 4 }));
    assert_eq!(text(&"zz".repeat(32)), Err(ParseLegacyError::NotHex));
    assert_eq!(format!("07{base_point}").parse::<LegacyId>(), Err(ParseLegacyError::Prefix));
    assert_eq!(
        LegacyId::from_ed25519_public(&unhex(&format!("02{}", "00".repeat(31)))),
        Err(ParseLegacyError::NotAPoint)
    );
}

#[test]
fn account_ids_in_text() {
    let id = AccountRef(AccountId::from([0xab; 32]));
    let text = format!("07{}", "ab".repeat(32));
    assert_eq!(id.to_string(), text);
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(text.to_uppercase().parse(), Ok(id));
    assert_eq!(id.0.to_cb58().parse(), Ok(id));
    assert_eq!(format!("{id:?}"), "AccountRef(abababab)");

    let refused = |text: &str| text.parse::<AccountRef>().expect_err(text);
    let legacy = LegacyId::from_ed25519_seed(&[1; 32]);
    assert_eq!(refused(&legacy.to_string()), ParseAccountError::Legacy(legacy));
    assert!(refused(&legacy.to_string()).to_string().contains("begins with 07"));
    let zeros = format!("05{}", "00".repeat(32));
    assert_eq!(refused(&zeros), ParseAccountError::BrokenLegacy(ParseLegacyError::NotAKey));
    assert_eq!(refused(&format!("06{}", "ab".repeat(32))), ParseAccountError::Prefix);
    assert_eq!(refused(&format!("07{}", "xy".repeat(32))), ParseAccountError::NotHex);
    for text in ["", "07", "hello", &"07".repeat(40), &"ü".repeat(33)] {
        let error = refused(text);
        assert!(
            matches!(error, ParseAccountError::Cb58(_) | ParseAccountError::Prefix),
            "{text}: {error}"
        );
    }
}

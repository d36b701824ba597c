use session_core::SeededEntropy;

use super::*;

/// As cheap as Argon2 goes: these tests are about the format.
const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
const HEADER: usize = 10;

fn alice() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn encrypted() -> Vec<u8> {
    encode_with(&alice(), b"secret", CHEAP, &mut SeededEntropy::new(1)).expect("not empty")
}

fn refused(bytes: &[u8], passphrase: Option<&[u8]>) -> IdentityFileError {
    decode(bytes, passphrase).expect_err("refused")
}

#[test]
fn plain_round_trip_and_golden_bytes() {
    let bytes = encode_plain(&alice());
    assert_eq!(bytes.len(), HEADER + BODY_SIZE);
    assert_eq!(hex::encode(&bytes[..HEADER]), "4c55584944454e540100");
    assert_eq!(protection(&bytes), Ok(Protection::Plain));
    let hash = "90f6c515bdc9ad0ef2631bb3b405432de2b5c5ff95285af8559a89a2689ae37c";
    assert_eq!(hex::encode(crate::hash::blake3(&bytes)), hash);
    assert_eq!(decode(&bytes, None).expect("plain").public(), alice().public());
    assert!(decode(&bytes, Some(b"ignored")).is_ok());
}

#[test]
fn encrypted_round_trip_and_golden_bytes() {
    let bytes = encrypted();
    assert_eq!(bytes.len(), HEADER + 12 + SALT_SIZE + NONCE_SIZE + BODY_SIZE + 16);
    assert_eq!(hex::encode(&bytes[..HEADER + 12]), "4c55584944454e540101000000080000000100000001");
    assert_eq!(protection(&bytes), Ok(Protection::Passphrase));
    let hash = "e04a8da67ea9ab4a057e9e3abc63e210cf56a8ea0f19e01427074ee57018c645";
    assert_eq!(hex::encode(crate::hash::blake3(&bytes)), hash);
    assert_eq!(decode(&bytes, Some(b"secret")).expect("opens").public(), alice().public());
    let secret = &alice().dsa_secret().expose()[128..160].to_vec();
    assert!(!bytes.windows(32).any(|window| window == secret), "the key is not in the clear");
}

#[test]
fn the_default_cost_is_in_the_header_and_opens() {
    let bytes = encode_encrypted(&alice(), b"secret", &mut SeededEntropy::new(2)).expect("seals");
    assert_eq!(bytes[HEADER..HEADER + 12], [0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1]);
    assert_eq!(decode(&bytes, Some(b"secret")).expect("opens").public(), alice().public());
    assert_eq!(refused(&bytes, Some(b"Secret")), IdentityFileError::WrongPassphrase);
}

#[test]
fn passphrases_that_are_none() {
    let bytes = encrypted();
    assert_eq!(refused(&bytes, None), IdentityFileError::PassphraseNeeded);
    assert_eq!(refused(&bytes, Some(b"")), IdentityFileError::WrongPassphrase);
    assert_eq!(refused(&bytes, Some(b"secret ")), IdentityFileError::WrongPassphrase);
    let error = encode_encrypted(&alice(), b"", &mut SeededEntropy::new(3)).expect_err("empty");
    assert_eq!(error, IdentityFileError::PassphraseEmpty);
}

#[test]
fn other_files_and_other_versions() {
    for other in [&b""[..], b"LUX", b"{\"session_id\": \"07\"}", &[0; 9000]] {
        assert_eq!(refused(other, None), IdentityFileError::NotAnIdentityFile);
    }
    let mut newer = encode_plain(&alice());
    newer[8] = 2;
    assert_eq!(refused(&newer, None), IdentityFileError::NewerVersion { got: 2 });
    assert_eq!(protection(&newer), Err(IdentityFileError::NewerVersion { got: 2 }));
    newer[8] = 0;
    assert!(matches!(refused(&newer, None), IdentityFileError::Damaged { .. }));
    let mut unknown = encode_plain(&alice());
    unknown[9] = 2;
    assert!(matches!(refused(&unknown, None), IdentityFileError::Damaged { .. }));
}

#[test]
fn every_truncation_and_addition_is_refused() {
    for (bytes, passphrase) in
        [(encode_plain(&alice()).to_vec(), None), (encrypted(), Some(&b"secret"[..]))]
    {
        for cut in (0..100).chain((100..bytes.len()).step_by(211)).chain([bytes.len() - 1]) {
            let error = refused(&bytes[..cut], passphrase);
            let expected = if cut < 8 {
                matches!(error, IdentityFileError::NotAnIdentityFile)
            } else {
                matches!(error, IdentityFileError::Damaged { .. })
            };
            assert!(expected, "cut at {cut}: {error}");
        }
        let longer = [&*bytes, &[0]].concat();
        assert!(matches!(refused(&longer, passphrase), IdentityFileError::Damaged { .. }));
    }
}

#[test]
fn altered_bytes_are_refused() {
    let bytes = encrypted();
    for at in (HEADER + 12..bytes.len()).step_by(97) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert_eq!(refused(&altered, Some(b"secret")), IdentityFileError::WrongPassphrase, "{at}");
    }
}

#[test]
fn damage_to_a_plain_file_is_noticed() {
    let bytes = encode_plain(&alice());
    for at in (HEADER..bytes.len()).step_by(97) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert!(matches!(refused(&altered, None), IdentityFileError::Damaged { .. }), "{at}");
    }
}

#[test]
fn keys_of_two_identities_are_refused() {
    let bytes = encode_plain(&alice());
    let other = encode_plain(&Identity::from_seed(&[2; 32]));
    let kem_secret_of_other = HEADER..HEADER + KEM_SECRET_KEY_SIZE;
    let keys_end = bytes.len() - 32;
    let forge = |change: &dyn Fn(&mut [u8])| {
        let mut forged = bytes.clone();
        change(&mut forged);
        let check = checksum(&forged[HEADER..keys_end]);
        forged[keys_end..].copy_from_slice(check.as_ref());
        decode(&forged, None)
    };
    // Joining another's KEM key pair is a valid, new identity: the id follows from the keys.
    let joined = forge(&|file| {
        file[kem_secret_of_other.clone()].copy_from_slice(&other[kem_secret_of_other.clone()]);
    });
    let joined = joined.expect("two sound key pairs");
    assert_ne!(joined.public().account_id(), alice().public().account_id());
    // A public key of another is not.
    let dsa_public = keys_end - DSA_PUBLIC_KEY_SIZE..keys_end;
    let error = forge(&|file| {
        file[dsa_public.clone()].copy_from_slice(&other[dsa_public.clone()]);
    });
    assert!(matches!(error.expect_err("mixed"), IdentityFileError::Keys(_)));
    let error = forge(&|file| file[HEADER..keys_end].fill(0x55));
    assert!(matches!(error.expect_err("no keys"), IdentityFileError::Keys(_)));
}

#[test]
fn costs_are_bounded_before_they_are_paid() {
    for (at, field) in [(0, "memory (KiB)"), (4, "passes"), (8, "lanes")] {
        let mut bytes = encrypted();
        bytes[HEADER + at..HEADER + at + 4].fill(0xff);
        let error = refused(&bytes, Some(b"secret"));
        assert!(
            matches!(error, IdentityFileError::Cost { field: got, got: u32::MAX, .. } if got == field),
            "{error}"
        );
        bytes[HEADER + at..HEADER + at + 4].fill(0);
        assert!(matches!(refused(&bytes, Some(b"secret")), IdentityFileError::Damaged { .. }));
    }
}

//! Project Wycheproof's sets, all of those that exist for what we use. Every set states how many
//! of its cases ran, so a case that is silently skipped fails.

use session_crypto::aead::{self, NONCE_SIZE};
use session_crypto::{
    DsaPublicKey, DsaSecretKey, KemCiphertext, KemPublicKey, KemSecretKey, Signature, SymmetricKey,
};
use wycheproof::{TestResult, aead as aead_sets, mldsa_sign, mldsa_verify, mlkem};

use super::Fixed;

/// Runs every case of an ML-KEM set; `run` answers whether the case is accepted.
fn ml_kem(name: mlkem::TestName, run: impl Fn(&mlkem::Test) -> bool) -> usize {
    let set = mlkem::TestSet::load(name).expect("the set is there");
    let cases = set.test_groups.iter().flat_map(|group| &group.tests);
    cases
        .map(|case| {
            let valid = case.result == TestResult::Valid;
            assert_eq!(run(case), valid, "case {}: {}", case.tc_id, case.comment);
        })
        .count()
}

fn field(bytes: Option<&wycheproof::ByteString>) -> &[u8] {
    bytes.expect("the set has this field")
}

#[test]
fn ml_kem_768_generate_and_decapsulate() {
    let ran = ml_kem(mlkem::TestName::MlKem768, |case| {
        let Ok(seed) = field(case.seed.as_ref()).try_into() else { return false };
        let (secret, public) = KemSecretKey::from_seed(seed);
        let Ok(ciphertext) = KemCiphertext::try_from(field(case.ct.as_ref())) else { return false };
        case.encaps_key.as_ref().is_none_or(|key| public.as_ref() == &key[..])
            && secret.decapsulate(&ciphertext).expose()[..] == *field(case.shared_secret.as_ref())
    });
    assert_eq!(ran, 201);
}

#[test]
fn ml_kem_768_encapsulate() {
    let ran = ml_kem(mlkem::TestName::MlKem768Encaps, |case| {
        let Ok(key) = KemPublicKey::try_from(field(case.encaps_key.as_ref())) else { return false };
        let (ciphertext, secret) = key.encapsulate(&mut Fixed(field(case.msg.as_ref())));
        ciphertext.as_ref() == field(case.ct.as_ref())
            && secret.expose()[..] == *field(case.shared_secret.as_ref())
    });
    assert_eq!(ran, 265);
}

#[test]
fn ml_kem_768_key_generation() {
    let ran = ml_kem(mlkem::TestName::MlKem768KeyGenSeed, |case| {
        let Ok(seed) = field(case.seed.as_ref()).try_into() else { return false };
        let (secret, public) = KemSecretKey::from_seed(seed);
        public.as_ref() == field(case.encaps_key.as_ref())
            && secret.expose()[..] == *field(case.decaps_key.as_ref())
            && KemSecretKey::new(secret.expose()).is_ok()
    });
    assert_eq!(ran, 100);
}

#[test]
fn ml_kem_768_imported_secret_keys() {
    let ran = ml_kem(mlkem::TestName::MlKem768SemiExpandedDecaps, |case| {
        let Ok(key) = KemSecretKey::try_from(field(case.decaps_key.as_ref())) else { return false };
        let Ok(ciphertext) = KemCiphertext::try_from(field(case.ct.as_ref())) else { return false };
        let secret = key.decapsulate(&ciphertext);
        case.shared_secret.as_ref().is_none_or(|expected| secret.expose()[..] == expected[..])
    });
    assert_eq!(ran, 9);
}

#[test]
fn ml_dsa_65_verify() {
    let set = mldsa_verify::TestSet::load(mldsa_verify::TestName::MlDsa65Verify).expect("set");
    let mut ran = 0;
    for group in &set.test_groups {
        for case in &group.tests {
            let verifies = || {
                let key = DsaPublicKey::try_from(&group.pubkey[..]).ok()?;
                let signature = Signature::try_from(&case.sig[..]).ok()?;
                let context = case.ctx.as_ref().map_or(&[][..], |context| &context[..]);
                key.verify(context, &case.msg, &signature).ok()
            };
            let valid = case.result == TestResult::Valid;
            assert_eq!(verifies().is_some(), valid, "case {}: {}", case.tc_id, case.comment);
            ran += 1;
        }
    }
    assert_eq!(ran, 210);
}

/// Returns how many cases ran and how many had only the internal `mu`, which no interface takes.
fn ml_dsa_65_sign(name: mldsa_sign::TestName) -> (usize, usize) {
    let set = mldsa_sign::TestSet::load(name).expect("the set is there");
    let (mut ran, mut internal) = (0, 0);
    for group in &set.test_groups {
        let key = match (&group.privseed, &group.privkey) {
            (Some(seed), _) => seed[..].try_into().ok().map(|seed| {
                let (secret, public) = DsaSecretKey::from_seed(seed);
                assert!(group.pubkey.as_ref().is_none_or(|key| key[..] == *public.as_ref()));
                secret
            }),
            (None, Some(bytes)) => DsaSecretKey::try_from(&bytes[..]).ok(),
            (None, None) => panic!("a group without a key"),
        };
        for case in &group.tests {
            let Some(message) = &case.msg else {
                internal += 1;
                continue;
            };
            let context = case.ctx.as_ref().map_or(&[][..], |context| &context[..]);
            let randomness = case.rnd.as_ref().map_or(&[0; 32][..], |bytes| &bytes[..]);
            let signature = key
                .as_ref()
                .and_then(|key| key.sign(context, message, &mut Fixed(randomness)).ok());
            let matches = signature.is_some_and(|signature| *signature.as_ref() == case.sig[..]);
            let valid = case.result == TestResult::Valid;
            assert_eq!(matches, valid, "case {}: {}", case.tc_id, case.comment);
            ran += 1;
        }
    }
    (ran, internal)
}

#[test]
fn ml_dsa_65_sign_with_imported_keys() {
    assert_eq!(ml_dsa_65_sign(mldsa_sign::TestName::MlDsa65SignNoSeed), (68, 10));
}

#[test]
fn ml_dsa_65_sign_with_seeds() {
    assert_eq!(ml_dsa_65_sign(mldsa_sign::TestName::MlDsa65SignSeed), (88, 17));
}

#[test]
fn xchacha20_poly1305() {
    let set = aead_sets::TestSet::load(aead_sets::TestName::XChaCha20Poly1305).expect("set");
    let mut ran = 0;
    for group in &set.test_groups {
        for case in &group.tests {
            ran += 1;
            let key = <[u8; 32]>::try_from(&case.key[..]).expect("every key has 32 bytes");
            let key = SymmetricKey::from(key);
            let valid = case.result == TestResult::Valid;
            let Ok(nonce) = <&[u8; NONCE_SIZE]>::try_from(&case.nonce[..]) else {
                assert!(!valid, "case {}: our type refuses a valid nonce", case.tc_id);
                continue;
            };
            let sealed = [&case.ct[..], &case.tag[..]].concat();
            let opened = aead::open(&key, nonce, &case.aad, &sealed);
            assert_eq!(opened.is_ok(), valid, "case {}: {}", case.tc_id, case.comment);
            if let Ok(opened) = opened {
                assert_eq!(opened, case.pt[..]);
                assert_eq!(aead::seal(&key, nonce, &case.aad, &case.pt), sealed);
            }
        }
    }
    assert_eq!(ran, 315);
}

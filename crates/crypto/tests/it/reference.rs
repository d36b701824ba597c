//! The three identities that the Go reference printed.

use session_core::SeededEntropy;
use session_crypto::{AccountRef, Identity, KemCiphertext, Signature, kem, seed};

const VECTORS: &str = include_str!("../../../../vectors/reference.json");

struct Row {
    identity: Identity,
    row: serde_json::Value,
}

impl Row {
    fn bytes(&self, field: &str) -> Vec<u8> {
        bytes(&self.row, field)
    }
}

fn bytes(row: &serde_json::Value, field: &str) -> Vec<u8> {
    let text = row[field].as_str().unwrap_or_else(|| panic!("the row lacks {field}"));
    hex::decode(text).unwrap_or_else(|_| panic!("{field} is not hex"))
}

fn rows() -> Vec<Row> {
    let file: serde_json::Value = serde_json::from_str(VECTORS).expect("JSON");
    let rows = file["identities"].as_array().expect("identities");
    assert_eq!(rows.len(), 3, "three identities");
    rows.iter()
        .map(|row| {
            let identity = Identity::import(
                &bytes(row, "kem_secret_key"),
                &bytes(row, "dsa_secret_key"),
                &bytes(row, "kem_public_key"),
                &bytes(row, "dsa_public_key"),
            )
            .expect("the reference's keys are valid");
            Row { identity, row: row.clone() }
        })
        .collect()
}

#[test]
fn derives_the_session_id() {
    for row in rows() {
        let id = row.row["session_id"].as_str().expect("session_id");
        assert_eq!(row.identity.public().account_ref().to_string(), id);
        assert_eq!(id.parse(), Ok(AccountRef(row.identity.public().account_id())));
    }
}

#[test]
fn exports_the_bytes_that_were_imported() {
    for row in rows() {
        assert_eq!(row.identity.kem_secret().expose()[..], row.bytes("kem_secret_key"));
        assert_eq!(row.identity.dsa_secret().expose()[..], row.bytes("dsa_secret_key"));
        assert_eq!(row.identity.public().kem().as_bytes()[..], row.bytes("kem_public_key"));
        assert_eq!(row.identity.public().dsa().as_bytes()[..], row.bytes("dsa_public_key"));
    }
}

#[test]
fn decapsulates_with_and_without_preparation() {
    for row in rows() {
        let ciphertext = KemCiphertext::try_from(&*row.bytes("kem_ciphertext")).expect("1088");
        let expected = row.bytes("kem_shared_secret");
        assert_eq!(row.identity.decapsulate(&ciphertext).expose()[..], expected);
        assert_eq!(row.identity.kem_secret().decapsulate(&ciphertext).expose()[..], expected);
    }
}

#[test]
fn opens_what_the_reference_encrypted() {
    for row in rows() {
        let sealed = row.bytes("encrypt_to_recipient");
        assert_eq!(sealed.len(), seed::OVERHEAD + row.bytes("message").len());
        let opened = seed::decrypt_from_sender(&row.identity, &sealed).expect("opens");
        assert_eq!(opened, row.bytes("message"));
        for cut in [0, 1, kem::KEM_CIPHERTEXT_SIZE, seed::OVERHEAD - 1, sealed.len() - 1] {
            assert!(seed::decrypt_from_sender(&row.identity, &sealed[..cut]).is_err(), "{cut}");
        }
    }
}

#[test]
fn our_encryption_round_trips_in_the_same_format() {
    let mut rng = SeededEntropy::new(1);
    let rows = rows();
    for row in &rows {
        let sealed = seed::encrypt_to(row.identity.public(), b"message", &mut rng);
        assert_eq!(sealed.len(), seed::OVERHEAD + 7);
        assert_eq!(seed::decrypt_from_sender(&row.identity, &sealed).expect("opens"), b"message");
        let mut altered = sealed.clone();
        *altered.last_mut().expect("not empty") ^= 1;
        assert!(seed::decrypt_from_sender(&row.identity, &altered).is_err());
    }
    let sealed = seed::encrypt_to(rows[0].identity.public(), b"message", &mut rng);
    assert!(seed::decrypt_from_sender(&rows[1].identity, &sealed).is_err());
}

#[test]
fn verifies_and_repeats_the_reference_signatures() {
    for row in rows() {
        let (message, key) = (row.bytes("message"), row.identity.public().dsa());
        let signature = Signature::try_from(&*row.bytes("signature")).expect("3309");
        seed::verify(key, &message, &signature).expect("verifies");
        assert!(seed::verify(key, b"another message", &signature).is_err());
        // Go signs deterministically with an empty context, and so does this module.
        assert_eq!(seed::sign(&row.identity, &message), signature);

        let signed = row.bytes("signed_message");
        assert_eq!(seed::verify_message(key, &signed).expect("verifies"), message);
        assert_eq!(seed::sign_message(&row.identity, &message), signed);
        assert!(seed::verify_message(key, &signed[..signed.len() - 1]).is_err());
        assert!(seed::verify_message(key, &signed[..100]).is_err());
    }
}

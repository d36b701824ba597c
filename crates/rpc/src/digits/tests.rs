use session_core::{Entropy as _, SeededEntropy};

use super::{decode, encode};

#[test]
fn bytes_of_any_length_are_written_and_read_as_the_hex_crate_does() {
    let mut rng = SeededEntropy::new(1);
    for length in 0..200 {
        let mut bytes = vec![0; length];
        rng.fill(&mut bytes);
        let digits = hex::encode(&bytes);
        assert_eq!(encode(&bytes), digits);
        assert_eq!(decode(&digits).as_ref(), Some(&bytes));
        assert_eq!(decode(&digits.to_uppercase()), Some(bytes));
    }
}

#[test]
fn every_character_is_taken_or_refused_as_the_hex_crate_does() {
    for character in (0..=255).map(char::from) {
        for text in [format!("{character}0"), format!("0{character}"), format!("{character}")] {
            // In a long text too, where many digits are read at once.
            for text in [text.clone(), "5e".repeat(64) + &text, text + &"5e".repeat(64)] {
                assert_eq!(decode(&text), hex::decode(&text).ok(), "{text:?}");
            }
        }
    }
}

//! A text is no recovery phrase, or says which seed it is whatever its case and spaces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use session_crypto::phrase::{BadPhrase, WORDS};
use session_crypto::{Phrase, XWingPublicKey};

fn text(text: &str) {
    let count = text.split_whitespace().count();
    match text.parse::<Phrase>() {
        Ok(phrase) => {
            let again: Phrase = phrase.to_string().parse().expect("its own words");
            assert_eq!(again.seed(), phrase.seed());
            assert_eq!(
                text.split_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>(),
                phrase.words()
            );
        }
        Err(BadPhrase::Count { got }) => assert!(got == count && got != WORDS),
        Err(BadPhrase::Word { number }) => assert!((1..=WORDS).contains(&number)),
        Err(_) => assert_eq!(count, WORDS),
    }
}

/// A true phrase in which words were exchanged, each for one of another phrase.
fn altered(bytes: &[u8]) {
    let (Some((seed, rest)), other) = (bytes.split_first_chunk(), Phrase::from_seed(&[0xa5; 32]))
    else {
        return;
    };
    let mut words = Phrase::from_seed(seed).words();
    for [from, to] in rest.as_chunks().0 {
        words[usize::from(*from) % WORDS] = other.words()[usize::from(*to) % WORDS];
    }
    text(&words.join(" "));
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 3 {
        0 => text(&String::from_utf8_lossy(bytes)),
        1 => altered(bytes),
        _ => {
            if let Ok(key) = XWingPublicKey::try_from(bytes) {
                assert_eq!(key.as_ref(), bytes);
            }
        }
    }
});

//! Recovery phrases: Trezor's vectors, and what a hand that writes them down does to them.

use session_core::{Entropy as _, SeededEntropy};
use session_crypto::Phrase;
use session_crypto::phrase::{BadPhrase, WORDS};

/// The vectors of 32 bytes from github.com/trezor/python-mnemonic.
const VECTORS: [(&str, &str); 8] = [
    (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
         abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
         abandon art",
    ),
    (
        "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
        "legal winner thank year wave sausage worth useful legal winner thank year wave sausage \
         worth useful legal winner thank year wave sausage worth title",
    ),
    (
        "8080808080808080808080808080808080808080808080808080808080808080",
        "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount \
         doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
    ),
    (
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo \
         zoo vote",
    ),
    (
        "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
        "hamster diagram private dutch cause delay private meat slide toddler razor book happy \
         fancy gospel tennis maple dilemma loan word shrug inflict delay length",
    ),
    (
        "9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863",
        "panda eyebrow bullet gorilla call smoke muffin taste mesh discover soft ostrich alcohol \
         speed nation flash devote level hobby quick inner drive ghost inside",
    ),
    (
        "066dca1a2bb7e8a1db2832148ce9933eea0f3ac9548d793112d9a95c9407efad",
        "all hour make first leader extend hole alien behind guard gospel lava path output census \
         museum junior mass reopen famous sing advance salt reform",
    ),
    (
        "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
        "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing \
         screen patrol group space point ten exist slush involve unfold",
    ),
];

#[test]
fn vectors_of_trezor() {
    for (seed, words) in VECTORS {
        let seed: [u8; 32] = hex::decode(seed).expect("hex").try_into().expect("32 bytes");
        let phrase = Phrase::from_seed(&seed);
        assert_eq!(phrase.to_string(), words);
        assert_eq!(phrase.words().join(" "), words);
        assert_eq!(*words.parse::<Phrase>().expect("a phrase").seed(), seed);
    }
}

#[test]
fn every_seed_comes_back() {
    let mut rng = SeededEntropy::new(1);
    for _ in 0..200 {
        let seed = rng.bytes32();
        let text = Phrase::from_seed(&seed).to_string();
        assert_eq!(*text.parse::<Phrase>().expect("a phrase").seed(), seed);
    }
}

#[test]
fn case_and_white_space_do_not_matter() {
    let (_, words) = VECTORS[4];
    let written = format!("\n  {}\t\n", words.to_uppercase().replace(' ', " \r\n "));
    let phrase: Phrase = written.parse().expect("a phrase");
    assert_eq!(phrase.to_string(), words);
}

#[test]
fn a_wrong_word_is_named() {
    let (_, text) = VECTORS[5];
    let words: Vec<&str> = text.split(' ').collect();
    for number in 1..=WORDS {
        for wrong in ["pandas", "ey\u{e9}brow", "art,", "0"] {
            let mut words = words.clone();
            words[number - 1] = wrong;
            let refused = words.join(" ").parse::<Phrase>().expect_err("not a word");
            assert_eq!(refused, BadPhrase::Word { number });
        }
    }
    assert_eq!(
        BadPhrase::Word { number: 3 }.to_string(),
        "word 3 is not a word of recovery phrases"
    );
}

#[test]
fn another_count_is_refused() {
    let (_, text) = VECTORS[5];
    let words: Vec<&str> = text.split(' ').collect();
    for count in (0..60).filter(|count| *count != WORDS) {
        let given: Vec<&str> = words.iter().copied().cycle().take(count).collect();
        let refused = given.join(" ").parse::<Phrase>().expect_err("not 24 words");
        assert_eq!(refused, BadPhrase::Count { got: count });
    }
}

#[test]
fn words_in_another_order_are_refused() {
    let (_, text) = VECTORS[7];
    let words: Vec<&str> = text.split(' ').collect();
    let mut taken = 0;
    for (left, right) in (0..WORDS).flat_map(|left| (0..left).map(move |right| (left, right))) {
        let mut words = words.clone();
        words.swap(left, right);
        match words.join(" ").parse::<Phrase>() {
            Err(refused) => assert_eq!(refused, BadPhrase::Checksum),
            Ok(_) => taken += 1,
        }
    }
    // A checksum of 8 bits lets one in 256 pass; there are 276 pairs.
    assert!(taken <= 5, "{taken} exchanges were not noticed");
}

#[test]
fn a_phrase_is_not_printed() {
    assert_eq!(format!("{:?}", Phrase::from_seed(&[1; 32])), "Phrase");
}

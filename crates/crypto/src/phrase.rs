//! Recovery phrases: 24 English words of BIP 39 for the 32 bytes that make an account.
//!
//! *Provided:* all of the seed, and a checksum of 8 bits that finds most slips of the pen.
//! *Not provided:* a passphrase of one's own (BIP 39's key stretching is not used: the words are the
//! seed), or protection of the paper.

use core::fmt;
use core::str::FromStr;

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

/// Words of a phrase.
pub const WORDS: usize = 24;

/// Why a text is not a recovery phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPhrase {
    /// Another number of words.
    #[error("a recovery phrase has {WORDS} words, got {got}")]
    Count {
        /// Words given.
        got: usize,
    },
    /// A word that is not on the list.
    #[error("word {number} is not a word of recovery phrases")]
    Word {
        /// Which one, counted from 1.
        number: usize,
    },
    /// All words exist, but at least one is not the right one.
    #[error("the words do not belong together: one of them is wrong, or two have changed places")]
    Checksum,
}

/// Twenty-four words. Cleared on drop, never printed by `Debug`.
#[derive(Clone)]
pub struct Phrase(Zeroizing<[u8; 32]>);

impl Phrase {
    /// Writes a seed as words.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*seed))
    }

    /// Returns the words in order.
    #[must_use]
    pub fn words(&self) -> [&'static str; WORDS] {
        let mnemonic = Mnemonic::from_entropy(&self.0[..]).expect("32 bytes are 24 words");
        let mut words = [""; WORDS];
        words.iter_mut().zip(mnemonic.words()).for_each(|(word, next)| *word = next);
        words
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }
}

impl FromStr for Phrase {
    type Err = BadPhrase;

    /// Reads words with any white space around them, in any case.
    fn from_str(text: &str) -> Result<Self, BadPhrase> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() != WORDS {
            return Err(BadPhrase::Count { got: words.len() });
        }
        let text = Zeroizing::new(words.join(" ").to_ascii_lowercase());
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &text).map_err(
            |error| match error {
                bip39::Error::UnknownWord(index) => BadPhrase::Word { number: index + 1 },
                _ => BadPhrase::Checksum,
            },
        )?;
        let (entropy, _) = mnemonic.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let seed = entropy.first_chunk().expect("24 words are 32 bytes");
        Ok(Self(Zeroizing::new(*seed)))
    }
}

/// The words, one space between two.
impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Zeroizing::new(self.words().join(" ")))
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phrase")
    }
}

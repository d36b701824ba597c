//! Words as search compares them: without case, accents and width.
//!
//! Compatibility decomposition, combining marks removed, lower case, and a few letters that Unicode
//! does not decompose. Scripts that are written without spaces are cut into single characters.

use std::borrow::Cow;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Most words of a query that are looked at.
const WORDS_MAX: usize = 16;

/// Returns a text as it is compared.
pub(super) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() {
            folded.push(letter.to_ascii_lowercase());
        } else {
            // Letter by letter: what belongs together in between are only marks, which go.
            decompose_compatible(letter, |part| push(&mut folded, part));
        }
    }
    Cow::Owned(folded)
}

fn push(folded: &mut String, letter: char) {
    for letter in letter.to_lowercase().filter(|letter| !is_combining_mark(*letter)) {
        match letter {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' | 'ð' => folded.push('d'),
            'ħ' => folded.push('h'),
            'ı' => folded.push('i'),
            'ς' => folded.push('σ'),
            letter => folded.push(letter),
        }
    }
}

/// Returns the words of a folded text.
pub(super) fn words(folded: &str) -> impl Iterator<Item = &str> {
    let runs = folded.split(|letter: char| !letter.is_alphanumeric());
    runs.filter(|run| !run.is_empty()).flat_map(pieces)
}

/// Cuts a run of letters at every character that is a word of its own.
fn pieces(run: &str) -> impl Iterator<Item = &str> {
    run.split_inclusive(stands_alone).flat_map(|piece| {
        let alone = piece.chars().next_back().filter(|last| stands_alone(*last));
        let (before, alone) = piece.split_at(piece.len() - alone.map_or(0, char::len_utf8));
        [before, alone].into_iter().filter(|piece| !piece.is_empty())
    })
}

/// Thai, Lao, Burmese, Khmer, Japanese and Chinese.
fn stands_alone(letter: char) -> bool {
    matches!(letter,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}')
}

/// What is looked for.
#[derive(Debug)]
pub(super) struct Query {
    /// Whole words, and the beginning of one.
    words: Vec<String>,
    beginning: String,
    /// The longest of them: where it is missing, nothing else needs to be looked at.
    longest: String,
}

impl Query {
    /// Reads a query; `None` if there is no word in it.
    pub(super) fn new(text: &str) -> Option<Self> {
        let folded = fold(text);
        let mut words: Vec<_> = words(&folded).take(WORDS_MAX).map(str::to_owned).collect();
        let longest = words.iter().max_by_key(|word| word.len())?.clone();
        // Behind a space, the last word is complete.
        let complete = folded.chars().next_back().is_some_and(|last| !last.is_alphanumeric());
        let beginning = if complete { String::new() } else { words.pop()? };
        Some(Self { words, beginning, longest })
    }

    /// Returns whether a text holds every word.
    pub(super) fn matches(&self, text: &str) -> bool {
        let folded = fold(text);
        folded.contains(&self.longest)
            && (self.beginning.is_empty()
                || words(&folded).any(|it| it.starts_with(&self.beginning)))
            && self.words.iter().all(|word| words(&folded).any(|it| it == word))
    }

    /// Returns where in a text the first word is that is looked for.
    pub(super) fn position(&self, text: &str) -> Option<usize> {
        let mut start = 0;
        for run in text.split_inclusive(|letter: char| !letter.is_alphanumeric()) {
            let folded = fold(run);
            let wanted = |it: &str| {
                let begins = !self.beginning.is_empty() && it.starts_with(&self.beginning);
                begins || self.words.iter().any(|word| word == it)
            };
            if words(&folded).any(wanted) {
                return Some(start);
            }
            start += run.len();
        }
        None
    }
}

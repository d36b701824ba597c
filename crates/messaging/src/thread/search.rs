//! Messages by their words.
//!
//! Every message is looked at, newest first: an index would be a second copy of what was said,
//! which deleting a message would have to find and clear.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use session_core::{AccountId, Decode as _, Reader, Time};

use super::fold::Query;
use super::record::{self, Kept};
use super::{Body, ThreadId, list};
use crate::vault::Vault;

/// Characters of a snippet, and how many of them stand before what was found.
const SNIPPET_CHARS: usize = 100;
const SNIPPET_BEFORE: usize = 30;

/// A message that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where.
    pub thread: ThreadId,
    /// Its place.
    pub place: u64,
    /// Who said it.
    pub author: AccountId,
    /// When it arrived.
    pub at: Time,
    /// The words around what was found, on one line.
    pub snippet: String,
}

/// Returns messages that hold all words of `query`, newest first, at most `limit`. Case and
/// accents do not matter; the last word may be the beginning of one, unless a space follows it.
#[must_use]
pub fn search(vault: &dyn Vault, query: &str, limit: usize) -> Vec<Hit> {
    let Some(query) = Query::new(query) else { return Vec::new() };
    // The oldest of the best is on top, and gives way to a newer one.
    let mut best: BinaryHeap<Reverse<(u64, ThreadId)>> = BinaryHeap::new();
    for thread in list::ids(vault) {
        vault.scan(&record::messages_prefix(thread), &[], true, &mut |key, value| {
            let Some((_, place)) = record::place_of(key) else { return true };
            let full = best.len() >= limit;
            if full && best.peek().is_none_or(|Reverse(oldest)| (place, thread) < *oldest) {
                return false;
            }
            if holds(&query, value) {
                best.push(Reverse((place, thread)));
                if full {
                    best.pop();
                }
            }
            true
        });
    }
    let newest_first = best.into_sorted_vec();
    newest_first
        .into_iter()
        .filter_map(|Reverse((place, id))| hit(vault, &query, id, place))
        .collect()
}

/// Looks at the body only, which comes first in the record.
fn holds(query: &Query, value: &[u8]) -> bool {
    match Body::decode(&mut Reader::new(value)) {
        Ok(Body::Text { body }) => query.matches(&body),
        Ok(Body::File { manifest, caption, .. }) => {
            query.matches(&format!("{caption} {}", manifest.name()))
        }
        _ => false,
    }
}

fn hit(vault: &dyn Vault, query: &Query, thread: ThreadId, place: u64) -> Option<Hit> {
    let Kept { body, author, received_at: at, .. } = record::load_message(vault, thread, place)?;
    let text = match body {
        Body::Text { body } => body.to_string(),
        Body::File { manifest, caption, .. } => format!("{caption} {}", manifest.name()),
        Body::Unsent | Body::Line { .. } => return None,
    };
    Some(Hit { thread, place, author, at, snippet: snippet(&text, query.position(&text)) })
}

fn snippet(text: &str, found: Option<usize>) -> String {
    let (before, from) = text.split_at(found.unwrap_or(0));
    let before: Vec<char> = before.chars().rev().take(SNIPPET_BEFORE + 1).collect();
    let mut shown = String::new();
    if before.len() > SNIPPET_BEFORE {
        shown.push('…');
    }
    let left = before.into_iter().take(SNIPPET_BEFORE).rev();
    let mut letters = left.chain(from.chars());
    let one_line = |letter: char| if letter.is_control() { ' ' } else { letter };
    shown.extend(letters.by_ref().take(SNIPPET_CHARS).map(one_line));
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

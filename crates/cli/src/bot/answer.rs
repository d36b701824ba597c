//! What a program says: one line of JSON.

use serde::Deserialize;
use session_core::Text;
use session_messaging::say::{Say, SayId};

use crate::exit::{Failure, Result};

/// Longest line of a program.
pub(super) const LINE_BYTES_MAX: usize = 128 * 1024;

/// An answer. One of `text`, `react` and `file` is there; a file may have a text beside it.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// Where it is said; without it, where the message is that the program was run for.
    pub(super) thread: Option<u32>,
    pub(super) text: Option<String>,
    pub(super) react: Option<String>,
    /// The path of a file.
    pub(super) file: Option<String>,
    /// Whether it answers the message that the program was run for.
    #[serde(default)]
    pub(super) reply: bool,
    /// The message that is answered or reacted to, by its id.
    pub(super) to: Option<String>,
}

impl Answer {
    /// Reads a line.
    pub(super) fn read(line: &str) -> Result<Self> {
        let answer: Self = serde_json::from_str(line)
            .map_err(|error| Failure::usage(format!("the program wrote no answer: {error}")))?;
        let Self { text, react, file, .. } = &answer;
        match (text.is_some() || file.is_some(), react.is_some()) {
            (true, false) | (false, true) => Ok(answer),
            _ => Err(Failure::usage(
                "the program wrote no answer: it holds \"text\", \"react\" or \"file\"",
            )),
        }
    }

    /// Returns what is said, about a message that the program was run for, or the one it names.
    pub(super) fn say(self, about: Option<SayId>) -> Result<Say> {
        let named = self.to.as_deref().map(id).transpose()?;
        if let Some(emoji) = self.react {
            let to = named.or(about).ok_or_else(|| {
                Failure::usage("the reaction names no message: \"to\" is missing")
            })?;
            let emoji = Text::new(emoji)
                .map_err(|error| Failure::usage(format!("the program's reaction: {error}")))?;
            return Ok(Say::React { to, emoji, on: true });
        }
        let body = Text::new(self.text.unwrap_or_default())
            .map_err(|error| Failure::usage(format!("the program's text: {error}")))?;
        if body.trim().is_empty() {
            return Err(Failure::usage("the program's text is empty"));
        }
        let reply_to = named.or(about.filter(|_| self.reply));
        Ok(Say::Text { body, reply_to })
    }
}

fn id(text: &str) -> Result<SayId> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id)
        .map_err(|error| Failure::usage(format!("the program's \"to\", {text:?}: {error}")))?;
    Ok(SayId(id))
}

#[cfg(test)]
mod tests;

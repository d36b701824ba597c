//! What the user sees: lines for people or JSON for programs.

use std::io::Write;

use serde_json::Value;
use session_messaging::shown;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    json: bool,
}

impl Out {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result: the text for people, the object for programs.
    pub(crate) fn result(self, text: impl FnOnce() -> String, object: impl FnOnce() -> Value) {
        if self.json {
            print_line(&object().to_string());
        } else {
            print_line(&text());
        }
    }

    /// Prints a remark for people; programs do not see it.
    pub(crate) fn remark(self, text: &str) {
        if !self.json {
            print_line(text);
        }
    }

    /// Prints a warning to standard error. It may hold words of nodes and strangers.
    pub(crate) fn warn(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "warning: {}", indented(text));
    }
}

/// Returns names and values as lines, the values below each other, their own lines behind the
/// first one indented; empty ones are left out.
pub(crate) fn rows(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = rows.iter().filter(|(_, value)| !value.is_empty());
    let next = format!("\n{:width$}  ", "");
    let lines = lines
        .map(|(name, value)| format!("{name:width$}  {}", harmless(value).replace('\n', &next)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Makes text of strangers fit for one line, as [`harmless`] does: nobody makes lines of his own
/// with a name, a title or a reaction.
pub(crate) fn one_line(text: &str) -> String {
    harmless(text).replace(['\n', '\t'], " ")
}

/// Makes text of strangers fit for a terminal, its lines behind the first one indented.
pub(crate) fn indented(text: &str) -> String {
    harmless(text).replace('\n', "\n  ")
}

/// Makes text of strangers fit for a terminal: what would steer it is shown as its code.
pub(crate) fn harmless(text: &str) -> String {
    let steers = |c: char| shown::steers(c) && c != '\n' && c != '\t';
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if steers(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        shown
    })
}

// A closed pipe (`session inbox | head -1`) is no reason to fail.
fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

#[cfg(test)]
mod tests {
    use super::{harmless, indented, one_line, rows};

    #[test]
    fn strangers_do_not_steer_the_terminal() {
        assert_eq!(harmless("two\nlines\tand ü 👋"), "two\nlines\tand ü 👋");
        assert_eq!(harmless("\x1b[2J\r\u{7}\u{202e}"), "\\u{1b}[2J\\u{d}\\u{7}\\u{202e}");
        assert_eq!(harmless("\u{61c}\u{2028}\u{2029}"), "\\u{61c}\\u{2028}\\u{2029}");
    }

    #[test]
    fn strangers_make_no_lines() {
        assert_eq!(one_line("👍\nBob  [1a2b3c4d]\tyes"), "👍 Bob  [1a2b3c4d] yes");
        assert_eq!(indented("no\nsession: done\x1b[2J"), "no\n  session: done\\u{1b}[2J");
        let shown = rows(&[("name", "Bob\nstanding  accepted".to_owned()), ("id", "1".to_owned())]);
        assert_eq!(shown, "name  Bob\n      standing  accepted\nid    1");
    }
}

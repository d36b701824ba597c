//! What the user sees: lines for people or JSON for programs.

use std::io::Write;

use serde_json::Value;

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

    /// Prints a warning to standard error.
    pub(crate) fn warn(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "warning: {text}");
    }
}

// A closed pipe (`session inbox | head -1`) is no reason to fail.
fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

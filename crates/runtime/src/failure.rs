//! Why the program ends, in one line and one exit code.

use core::fmt;

/// A failure that ends the program.
#[derive(Debug)]
pub struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// The command line, the configuration or a file it names is wrong: exit code 2.
    #[must_use]
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 2 }
    }

    /// The world does not let the program run: exit code 1.
    #[must_use]
    pub fn runtime(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    /// Returns the exit code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    // One line, whatever the parts bring along: scripts and service managers read lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.text.split('\n').map(str::trim).enumerate() {
            match index {
                0 => f.write_str(line)?,
                _ => write!(f, " {line}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Returns an error and what caused it, in one text.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What most functions of this program return.
pub type Result<T> = std::result::Result<T, Failure>;

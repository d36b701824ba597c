//! Failures with the exit code that scripts see.

use std::fmt;

/// The kinds of failure, by exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Anything else.
    Failed = 1,
    /// The command makes no sense.
    Usage = 2,
    /// Too few nodes answered, or none.
    Network = 3,
    /// A node or the chain said no, or a proof proves something else.
    Refused = 4,
    /// There is no such thing.
    NotFound = 5,
}

/// A failure that ends the program.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) why: String,
}

/// What commands return.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(code: Code, why: impl fmt::Display) -> Self {
        Self { code, why: why.to_string() }
    }

    pub(crate) fn usage(why: impl fmt::Display) -> Self {
        Self::new(Code::Usage, why)
    }

    pub(crate) fn failed(why: impl fmt::Display) -> Self {
        Self::new(Code::Failed, why)
    }

    pub(crate) fn refused(why: impl fmt::Display) -> Self {
        Self::new(Code::Refused, why)
    }

    pub(crate) fn not_found(why: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, why)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Adds what was being done to an error, as a failure.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure::failed(format!("{}: {error}", what())))
    }
}

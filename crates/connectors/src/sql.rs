//! Reads from databases: one SELECT with an order, run read-only.
//!
//! *Provided:* the statement is checked before anything is opened ([`statement`]); parameters are
//! bound, never pasted; every query runs on a connection of its own, in a read-only transaction,
//! under a timeout and with caps on rows and bytes; equal rows give equal bytes (`rows`), without
//! a float in between. *Not provided:* TLS to PostgreSQL; protection from a role that may do more
//! than read. A superuser's role is refused.
//!
//! | module | holds |
//! |---|---|
//! | [`statement`] | what a statement may be |
//! | `rows` | the JSON that rows become |
//! | `postgres` | PostgreSQL |
//! | `numeric` | PostgreSQL's numbers and times as text |
//! | `sqlite` | SQLite |

use std::path::{Path, PathBuf};
use std::time::Duration;

use session_protocol::workload::oracle::{Fault, RawAnswer};

mod numeric;
mod postgres;
mod rows;
mod sqlite;
pub mod statement;

pub use statement::BadStatement;

/// Most rows of an answer: far above what an observation holds.
pub const ROWS_MAX: usize = 10_000;

/// A database that the operator set up.
#[derive(Clone)]
pub struct Database(Kind);

#[derive(Clone)]
enum Kind {
    Postgres(Box<tokio_postgres::Config>),
    Sqlite(PathBuf),
}

/// Why an address of a database is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadDatabase {
    /// Nothing says which kind it is.
    #[error("it must begin with postgresql:// or sqlite:")]
    Kind,
    /// PostgreSQL's client does not understand it.
    #[error("not an address of PostgreSQL: {0}")]
    Address(String),
    /// A connection with TLS is wanted.
    #[error("sslmode=require is not supported: put a proxy that speaks TLS on this machine")]
    Tls,
    /// Passwords and rows would cross a network in the open, and nobody said that they may.
    #[error("{host} is not this machine, and there is no TLS: say sslmode=disable if it may be so")]
    Open {
        /// Where the database is.
        host: String,
    },
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// One SELECT; `$1` is the first value.
    pub statement: &'a str,
    /// The values, as text.
    pub values: &'a [&'a str],
    /// How long it may take, connecting included.
    pub timeout: Duration,
    /// The largest answer.
    pub bytes_max: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The statement is none that is taken.
    #[error("the statement: {0}")]
    Statement(#[from] BadStatement),
    /// The database cannot be reached, or does not let the node in.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The database refuses the statement.
    #[error("the database refuses it: {0}")]
    Refused(String),
    /// It took too long.
    #[error("it took longer than {limit:?}")]
    Timeout {
        /// What was allowed.
        limit: Duration,
    },
    /// Too many rows or bytes.
    #[error("the answer has more than {limit} {what}")]
    TooLarge {
        /// `rows` or `bytes`.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The role may read the server's files, and more.
    #[error("the role is a superuser: give the node one that may only read")]
    Superuser,
    /// A column has a type that has no one form as text.
    #[error("column {column} has type {kind}: cast it to text in the statement")]
    Column {
        /// Its name.
        column: String,
        /// Its type.
        kind: String,
    },
    /// Two columns have the same name.
    #[error("two columns are called {column}: name one of them with AS")]
    SameName {
        /// The name.
        column: String,
    },
}

impl Database {
    /// Reads the address of a database: `postgresql://user@host/name?sslmode=disable`, or
    /// `sqlite:/path/to/file`.
    ///
    /// # Errors
    /// When it is none, or would need what is not there.
    pub fn parse(address: &str) -> Result<Self, BadDatabase> {
        if let Some(path) = address.strip_prefix("sqlite:") {
            return Ok(Self(Kind::Sqlite(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))));
        }
        if !address.starts_with("postgresql://") && !address.starts_with("postgres://") {
            return Err(BadDatabase::Kind);
        }
        let config = postgres::parse(address)?;
        Ok(Self(Kind::Postgres(Box::new(config))))
    }

    /// Returns the database in a file of SQLite.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        Self(Kind::Sqlite(path.to_owned()))
    }

    /// Asks it. Dropping the future gives up; what runs in the database ends with its timeout.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, query: Query<'_>) -> Result<RawAnswer, Error> {
        statement::check(query.statement, query.values.len())?;
        let body = match &self.0 {
            Kind::Postgres(config) => {
                let asked = postgres::ask(config, query);
                let limit = query.timeout;
                let answer = tokio::time::timeout(limit, asked).await;
                answer.unwrap_or(Err(Error::Timeout { limit }))?
            }
            Kind::Sqlite(path) => sqlite::ask(path, query).await?,
        };
        let received = body.len() as u64;
        Ok(RawAnswer { status: 200, headers: Vec::new(), body, received })
    }
}

// An address holds a password.
impl core::fmt::Debug for Database {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self.0 {
            Kind::Postgres(_) => "Database(PostgreSQL)",
            Kind::Sqlite(_) => "Database(SQLite)",
        })
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        match error {
            Error::Unreachable(_) => Self::Unreachable,
            Error::Timeout { .. } => Self::Timeout,
            Error::TooLarge { .. } => Self::TooLarge,
            Error::Superuser => Self::NotSetUp,
            Error::Statement(_)
            | Error::Refused(_)
            | Error::Column { .. }
            | Error::SameName { .. } => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests;

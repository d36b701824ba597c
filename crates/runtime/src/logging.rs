//! Logs to standard error, in lines for people.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The environment variable that sets the level when no flag does.
pub const LOG_VARIABLE: &str = "SESSION_LOG";

/// Our life cycle; of the libraries below, only what needs an operator.
const DEFAULT_FILTER: &str = "info,quinn=warn,quinn_proto=warn,rustls=warn,hyper=warn";

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// The level or filter is not one.
    #[error("log filter {filter:?} is malformed: {reason}; examples: debug, info,quinn=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logging had begun before.
    #[error("logging was set up twice")]
    Twice,
}

/// Begins to log, at the level of `flag`, else of [`LOG_VARIABLE`], else `info`.
///
/// The output has no colour codes, so that it reads the same in a terminal and in a file.
///
/// # Errors
/// When the filter is malformed, or logging has begun before.
pub fn init(flag: Option<&str>) -> Result<(), LoggingError> {
    let variable = std::env::var(LOG_VARIABLE).ok();
    let subscriber = subscriber(filter(flag, variable.as_deref())?, io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)
}

fn filter(flag: Option<&str>, variable: Option<&str>) -> Result<EnvFilter, LoggingError> {
    let chosen = flag.or(variable.filter(|text| !text.is_empty())).unwrap_or(DEFAULT_FILTER);
    EnvFilter::builder().parse(chosen).map_err(|error| LoggingError::Filter {
        filter: chosen.to_owned(),
        reason: error.to_string(),
    })
}

fn subscriber<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false).finish()
}

#[cfg(test)]
mod tests;

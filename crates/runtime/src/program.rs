//! What programs of ours do alike with their command line and standard output.

use core::fmt::Display;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::failure::{Failure, Result};

/// Gives long flags their second dash: the seeds write `-listen`, as Go does. `-h` and `-V` stay
/// what they are.
pub fn with_two_dashes(args: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    args.into_iter().map(|arg| match arg.to_str() {
        Some(text) if is_long_with_one_dash(text) => OsString::from(format!("-{text}")),
        _ => arg,
    })
}

fn is_long_with_one_dash(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next() == Some('-')
        && characters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && characters.next().is_some()
}

/// Cuts the text of a refused command line to what is wrong: the rest is usage that `--help` shows
/// better.
#[must_use]
pub fn refused_arguments(error: &str) -> Failure {
    let what = error.split("\n\n").next().unwrap_or(error);
    let what = what.strip_prefix("error: ").unwrap_or(what).trim();
    Failure::usage(format!("{what} (see --help)"))
}

/// Says what is wrong with the value of a flag.
#[must_use]
pub fn bad_flag(flag: &str, why: &dyn Display) -> Failure {
    Failure::usage(format!("--{flag}: {why}"))
}

/// Finds the address of a flag's `host:port`; `text` is what was written.
///
/// # Errors
/// When the host has no address.
pub fn resolve(flag: &str, text: &str, at: &str) -> Result<SocketAddr> {
    let mut found = at
        .to_socket_addrs()
        .map_err(|error| bad_flag(flag, &format!("{text:?} cannot be resolved: {error}")))?;
    found.next().ok_or_else(|| bad_flag(flag, &format!("{text:?} has no address")))
}

/// Prints a line for whoever started the program.
///
/// # Errors
/// When standard output takes nothing.
pub fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::runtime(format!("cannot write to standard output: {error}")))
}

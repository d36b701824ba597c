//! Command lines as the seeds write them.

use std::ffi::OsString;

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

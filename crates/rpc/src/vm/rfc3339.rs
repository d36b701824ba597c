//! Times as people write them: RFC 3339, in UTC, to the millisecond.

use session_core::Time;

/// A text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is RFC 3339 text from 1970 to 9999, such as 2026-01-23T00:00:00Z")]
pub struct ParseTimeError;

const MILLIS_A_DAY: u64 = 86_400_000;
/// The first millisecond of the year 10000, which has no RFC 3339 text.
pub(super) const END_MILLIS: u64 = 253_402_300_800_000;

/// Returns the text of a time, such as `2026-01-23T00:00:00.000Z`; times after the year 9999 give
/// the last millisecond that has a text.
#[must_use]
pub fn format(time: Time) -> String {
    let millis = time.as_millis().min(END_MILLIS - 1);
    let (days, rest) = (millis / MILLIS_A_DAY, millis % MILLIS_A_DAY);
    let (year, month, day) = date(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Parses a text; digits after the milliseconds are cut, offsets from UTC are applied.
///
/// # Errors
/// When it is no RFC 3339 time, or one before 1970. Leap seconds are refused.
pub fn parse(text: &str) -> Result<Time, ParseTimeError> {
    read(text.as_bytes()).ok_or(ParseTimeError)
}

fn read(text: &[u8]) -> Option<Time> {
    let (year, month, day) = (number(text, 0, 4)?, number(text, 5, 2)?, number(text, 8, 2)?);
    let (hour, minute, second) = (number(text, 11, 2)?, number(text, 14, 2)?, number(text, 17, 2)?);
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let separated = separators.into_iter().all(|(at, byte)| text[at] == byte);
    let possible = (1..=12).contains(&month)
        && (1..=month_days(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !separated || !possible || !matches!(text[10], b'T' | b't' | b' ') || year < 1970 {
        return None;
    }
    let (milli, zone) = fraction(&text[19..])?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = seconds.checked_add_signed(-offset(zone)?)?;
    Some(Time::from_millis(seconds * 1000 + milli)).filter(|time| time.as_millis() < END_MILLIS)
}

fn number(text: &[u8], at: usize, digits: usize) -> Option<u64> {
    let digits = text.get(at..at + digits)?;
    let value = |sum, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'));
    digits.iter().try_fold(0, value)
}

// Milliseconds of an optional fraction, and what follows it.
fn fraction(rest: &[u8]) -> Option<(u64, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, zone) = rest.split_at(length);
    let digit = |at: usize| digits.get(at).map_or(0, |byte| u64::from(byte - b'0'));
    (length > 0).then(|| (digit(0) * 100 + digit(1) * 10 + digit(2), zone))
}

// Seconds ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = zone.split_first()?;
    match sign {
        b'Z' | b'z' if rest.is_empty() => Some(0),
        b'+' | b'-' if rest.len() == 5 && rest[2] == b':' => {
            let (hours, minutes) = (number(rest, 0, 2)?, number(rest, 3, 2)?);
            let seconds = i64::try_from(hours * 3600 + minutes * 60).ok()?;
            let seconds = if *sign == b'+' { seconds } else { -seconds };
            (hours < 24 && minutes < 60).then_some(seconds)
        }
        _ => None,
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Leap days before the year, counted from the year 0.
const fn leap_days(year: u64) -> u64 {
    let before = year - 1;
    before / 4 - before / 100 + before / 400
}

// Days from 1970-01-01 to the first of January.
const fn year_days(year: u64) -> u64 {
    (year - 1970) * 365 + leap_days(year) - leap_days(1970)
}

fn days(year: u64, month: u64, day: u64) -> u64 {
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    year_days(year) + months + day - 1
}

fn date(days: u64) -> (u64, u64, u64) {
    // 366 days a year never overshoot, and the error is at most a few years.
    let mut year = 1970 + days / 366;
    while year_days(year + 1) <= days {
        year += 1;
    }
    let mut left = days - year_days(year);
    let mut month = 1;
    while left >= month_days(year, month) {
        left -= month_days(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests;

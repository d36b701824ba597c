//! PostgreSQL's numbers and times as text, without a float in between.

use std::fmt::Write as _;

/// Days from 0000-03-01 to 2000-01-01, where PostgreSQL counts from.
const DAYS_TO_2000: i64 = 730_425;
const MICROS_A_DAY: i64 = 24 * 60 * 60 * 1_000_000;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// Returns a `numeric` as its decimal text; `None` if the bytes are none.
///
/// On the wire are the count of digits of base 10,000, the place of the first one, the sign, the
/// count of decimals, and the digits.
pub(super) fn decimal(bytes: &[u8]) -> Option<String> {
    let words: Vec<u16> = bytes.chunks(2).map(word).collect::<Option<_>>()?;
    let [count, weight, sign, decimals, digits @ ..] = &words[..] else { return None };
    if usize::from(*count) != digits.len() || digits.iter().any(|digit| *digit > 9999) {
        return None;
    }
    let mut text = String::new();
    match *sign {
        0 => {}
        NEGATIVE => text.push('-'),
        NAN => return Some("NaN".to_owned()),
        INFINITY => return Some("Infinity".to_owned()),
        NEGATIVE_INFINITY => return Some("-Infinity".to_owned()),
        _ => return None,
    }
    let weight = i64::from(i16::from_be_bytes(weight.to_be_bytes()));
    let digit = |place: i64| {
        let index = usize::try_from(weight - place).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    write!(text, "{}", digit(weight.max(0))).ok()?;
    for place in (0..weight.max(0)).rev() {
        write!(text, "{:04}", digit(place)).ok()?;
    }
    if *decimals > 0 {
        let mut after = String::new();
        let mut place = -1;
        while after.len() < usize::from(*decimals) {
            write!(after, "{:04}", digit(place)).ok()?;
            place -= 1;
        }
        after.truncate(usize::from(*decimals));
        write!(text, ".{after}").ok()?;
    }
    Some(text)
}

fn word(two: &[u8]) -> Option<u16> {
    two.try_into().ok().map(u16::from_be_bytes)
}

/// Returns a `uuid` as its text.
pub(super) fn uuid(bytes: &[u8]) -> Option<String> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{byte:02x}").ok()?;
    }
    Some(text)
}

/// Returns a `date`, in days since 2000, as `2024-02-29`.
pub(super) fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => day(days.into()),
    }
}

/// Returns a timestamp, in microseconds since 2000, as `2024-02-29T12:00:00.5`.
pub(super) fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let (days, rest) = (micros.div_euclid(MICROS_A_DAY), micros.rem_euclid(MICROS_A_DAY));
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{}T{hour:02}:{minute:02}:{second:02}", day(days));
    if fraction > 0 {
        let six = format!("{fraction:06}");
        text.push('.');
        text.push_str(six.trim_end_matches('0'));
    }
    text.push_str(zone);
    text
}

/// Returns a day of the Gregorian calendar. Years begin in March here, so that the leap day is the
/// last one.
fn day(since_2000: i64) -> String {
    let days = since_2000 + DAYS_TO_2000;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // Astronomical years: 0 is 1 BC.
    format!("{year:04}-{month:02}-{day:02}")
}

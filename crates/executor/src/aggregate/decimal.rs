//! Decimal numbers, exactly.

use core::cmp::Ordering;

/// Most digits of a number, and the farthest that its first digit may be from the point.
const DIGITS_MAX: usize = 128;

/// A decimal number: 0.`digits` × 10^`point`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// Without zeros at either end; of zero none.
    digits: Vec<u8>,
    /// How many digits are before the point; negative for zeros right behind it.
    point: i32,
}

impl Decimal {
    /// Reads a number as JSON writes it. Numbers that nobody measures are none: more than 128
    /// digits, or further than that from the point.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, text),
        };
        let (number, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i16>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let all_digits =
            |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        if text.len() > 4 * DIGITS_MAX || !all_digits(whole) || !all_digits(part) {
            return None;
        }
        let all: Vec<u8> = whole.bytes().chain(part.bytes()).collect();
        let zeros = all.iter().take_while(|digit| **digit == b'0').count();
        let end = all.iter().rposition(|digit| *digit != b'0').map_or(zeros, |last| last + 1);
        let digits = all[zeros.min(end)..end].to_vec();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, point: 0 });
        }
        let whole_digits = i32::try_from(whole.len()).ok()?;
        let point = whole_digits - i32::try_from(zeros).ok()? + i32::from(exponent);
        let far = point.unsigned_abs() as usize > DIGITS_MAX;
        (!far && digits.len() <= DIGITS_MAX).then_some(Self { negative, digits, point })
    }

    /// Returns the number in its one form: no exponent, no zeros that say nothing.
    pub(crate) fn to_text(&self) -> String {
        let digits = self.digits.iter().map(|digit| char::from(*digit));
        let sign = if self.negative { "-" } else { "" };
        let length = self.digits.len();
        let before = usize::try_from(self.point).unwrap_or(0);
        if length == 0 {
            return "0".to_owned();
        }
        if before >= length {
            return format!("{sign}{}{}", digits.collect::<String>(), "0".repeat(before - length));
        }
        let whole: String = digits.clone().take(before).collect();
        let part: String = digits.skip(before).collect();
        let zeros = "0".repeat(usize::try_from(-self.point).unwrap_or(0));
        format!("{sign}{}.{zeros}{part}", if whole.is_empty() { "0" } else { &whole })
    }

    fn size(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (false, false) => (self.point, &self.digits).cmp(&(other.point, &other.digits)),
            (left, right) => right.cmp(&left),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.size(other),
            (true, true) => other.size(self),
            (left, right) => right.cmp(&left),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

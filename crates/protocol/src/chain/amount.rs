//! Amounts of LUX. One LUX is a million base units (6 decimals).

use core::fmt;
use core::str::FromStr;

use session_core::{Decode, DecodeError, Encode, Reader};

/// Base units in one LUX.
pub const UNITS_PER_LUX: u64 = 1_000_000;

/// Digits after the point.
const DECIMALS: usize = 6;

/// An amount in base units. Prints and parses decimal LUX, such as `100` or `0.000001`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u64);

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is decimal LUX with at most 6 digits after the point, such as 100 or 0.5")]
pub struct ParseAmountError;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Makes an amount of whole LUX; saturates.
    #[must_use]
    pub const fn lux(whole: u64) -> Self {
        Self(whole.saturating_mul(UNITS_PER_LUX))
    }

    /// Adds, unless the sum does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Subtracts, unless there is less.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / UNITS_PER_LUX, self.0 % UNITS_PER_LUX);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(rest) || rest.len() > DECIMALS {
            return Err(ParseAmountError);
        }
        let whole: u64 = whole.parse().map_err(|_| ParseAmountError)?;
        let rest: u64 = format!("{rest:0<6}").parse().map_err(|_| ParseAmountError)?;
        let units = whole.checked_mul(UNITS_PER_LUX).and_then(|units| units.checked_add(rest));
        units.map(Self).ok_or(ParseAmountError)
    }
}

impl Encode for Amount {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Amount {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(reader).map(Self)
    }
}

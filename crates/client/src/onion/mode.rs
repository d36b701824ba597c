//! How requests travel.

use core::fmt;
use core::str::FromStr;

use session_core::Span;
use session_network::onion::{HOPS_MAX, Size};

/// Hops of a path if nobody says otherwise.
pub const HOPS: u8 = 3;

/// Mean wait at each hop in [`Mode::Mix`] if nobody says otherwise.
pub const DELAY_MEAN: Span = Span::from_millis(200);

/// Mean time between two packets of [`Mode::Mix`] if nobody says otherwise: ten a second, 82 kB. A
/// command asks for about twenty things, and with fewer packets they wait for each other.
pub const SEND_EVERY: Span = Span::from_millis(100);

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To the nodes that are asked: they see where from.
    Direct,
    /// Over hops, as fast as possible.
    Onion {
        /// How many, the node that is asked included: 1 to 5.
        hops: u8,
    },
    /// Over hops that wait, at times that do not depend on what is said.
    Mix {
        /// How many, the node that is asked included: 1 to 5.
        hops: u8,
        /// Mean wait at each hop, in either direction.
        delay: Span,
        /// Mean time between two packets.
        every: Span,
    },
}

/// What clients do if nobody says otherwise.
impl Default for Mode {
    fn default() -> Self {
        Self::onion()
    }
}

/// A text that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is no mode: direct, onion or mix, the last two also with hops, as in onion:5")]
pub struct BadMode {
    /// The text.
    pub got: String,
}

impl Mode {
    /// Three hops.
    #[must_use]
    pub const fn onion() -> Self {
        Self::Onion { hops: HOPS }
    }

    /// Three hops that wait, and cover.
    #[must_use]
    pub const fn mix() -> Self {
        Self::Mix { hops: HOPS, delay: DELAY_MEAN, every: SEND_EVERY }
    }

    /// Returns how many hops there are; 0 for none.
    #[must_use]
    pub const fn hops(&self) -> u8 {
        match self {
            Self::Direct => 0,
            Self::Onion { hops } | Self::Mix { hops, .. } => *hops,
        }
    }

    /// Returns the mean wait at each hop, in either direction.
    #[must_use]
    pub const fn delay(&self) -> Span {
        match self {
            Self::Mix { delay, .. } => *delay,
            Self::Direct | Self::Onion { .. } => Span::ZERO,
        }
    }

    /// Returns the mean time between two packets, where they leave at times of their own.
    #[must_use]
    pub const fn every(&self) -> Option<Span> {
        match self {
            Self::Mix { every, .. } => Some(*every),
            Self::Direct | Self::Onion { .. } => None,
        }
    }

    /// Returns how long the hops let a request and its answer wait, on average.
    #[must_use]
    pub const fn delay_of_hops(&self) -> Span {
        Span::from_millis(self.delay().as_millis() * self.hops() as u64 * 2)
    }

    /// Returns how long a request and its answer take on average because of what is waited on purpose.
    #[must_use]
    pub fn round_trip(&self) -> Span {
        self.delay_of_hops() + self.every().unwrap_or_default()
    }

    /// Returns how many bytes of packets leave in a second whatever is said; about as many come back.
    #[must_use]
    pub fn cover_rate(&self) -> u64 {
        let every = self.every().map_or(u64::MAX, |every| every.as_millis().max(1));
        Size::Small.bytes() as u64 * 1000 / every
    }

    /// Returns its name, without the numbers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Onion { .. } => "onion",
            Self::Mix { .. } => "mix",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str(self.name()),
            Self::Onion { hops } | Self::Mix { hops, .. } => write!(f, "{}:{hops}", self.name()),
        }
    }
}

impl FromStr for Mode {
    type Err = BadMode;

    /// Reads `direct`, `onion`, `mix`, and the last two with a number of hops.
    fn from_str(text: &str) -> Result<Self, BadMode> {
        let bad = || BadMode { got: text.to_owned() };
        let (name, hops) = match text.split_once(':') {
            None => (text, HOPS),
            Some((name, hops)) => (name, hops.parse().map_err(|_| bad())?),
        };
        if !(1..=HOPS_MAX).contains(&usize::from(hops)) {
            return Err(bad());
        }
        match name {
            "direct" if name == text => Ok(Self::Direct),
            "onion" => Ok(Self::Onion { hops }),
            "mix" => Ok(Self::Mix { hops, delay: DELAY_MEAN, every: SEND_EVERY }),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_one_text() {
        for text in ["direct", "onion:1", "onion:3", "mix:5"] {
            let mode: Mode = text.parse().unwrap();
            assert_eq!(mode.to_string(), text);
        }
        assert_eq!("onion".parse(), Ok(Mode::onion()));
        assert_eq!("mix".parse(), Ok(Mode::mix()));
        for text in ["", "tor", "direct:3", "onion:0", "onion:6", "onion:", "onion:x", "mix:256"] {
            assert_eq!(text.parse::<Mode>(), Err(BadMode { got: text.to_owned() }));
        }
    }
}

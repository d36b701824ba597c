//! How much one client address may ask over HTTP.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use session_core::Span;
use tokio::time::Instant;

/// Addresses remembered. Rested ones are forgotten when it is full; if none is, new ones wait.
const ADDRESSES_MAX: usize = 4_096;

/// A token is a thousandth of a call, so that whole milliseconds add whole tokens.
const TOKENS: u64 = 1_000;

/// One bucket of tokens for each address: an IPv4 address or an IPv6 /64 network.
pub struct Limiter {
    /// Calls a second, as over the binary protocol; `None` for no limit.
    rate: Option<u64>,
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

struct Bucket {
    tokens: u64,
    at: Instant,
}

impl Limiter {
    /// Makes a limiter of `rate` calls a second (one at least), and four seconds' worth at once.
    #[must_use]
    pub fn new(rate: Option<u32>) -> Self {
        Self { rate: rate.map(|rate| u64::from(rate.max(1))), buckets: Mutex::default() }
    }

    /// Takes the tokens of so many calls, or says when they will be there.
    ///
    /// # Errors
    /// With how long to wait, when the address asked for more than its share.
    pub fn take(&self, address: IpAddr, calls: u64) -> Result<(), Span> {
        self.take_at(address, calls, Instant::now())
    }

    fn take_at(&self, address: IpAddr, calls: u64, now: Instant) -> Result<(), Span> {
        let Some(rate) = self.rate else { return Ok(()) };
        let burst = 4 * rate * TOKENS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network_of(address);
        if !buckets.contains_key(&address) && buckets.len() >= ADDRESSES_MAX {
            buckets.retain(|_, bucket| bucket.fill(now, rate) < burst);
            if buckets.len() >= ADDRESSES_MAX {
                return Err(Span::from_secs(1));
            }
        }
        let bucket = buckets.entry(address).or_insert(Bucket { tokens: burst, at: now });
        let needed = calls * TOKENS;
        let there = bucket.fill(now, rate);
        match there.checked_sub(needed) {
            Some(left) => {
                bucket.tokens = left;
                Ok(())
            }
            None => Err(Span::from_millis((needed - there).div_ceil(rate))),
        }
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant, rate: u64) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let earned = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(rate);
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(4 * rate * TOKENS);
            self.at = now;
        }
        self.tokens
    }
}

// One subscriber owns a whole IPv6 /64, so that is what one address is.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests;

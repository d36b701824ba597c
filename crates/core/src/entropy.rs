//! Randomness as a door: the operating system's in the runtime, a seed's in the simulator.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A source of random bytes.
pub trait Entropy {
    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]);

    /// Returns 32 random bytes.
    fn bytes32(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        self.fill(&mut out);
        out
    }

    /// Returns a random integer.
    fn next_u64(&mut self) -> u64 {
        let mut out = [0; 8];
        self.fill(&mut out);
        u64::from_be_bytes(out)
    }

    /// Returns a random integer below `bound`, or 0 when `bound` is 0.
    ///
    /// The bias is below `bound / 2^64`: good for scheduling, not for keys.
    fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }
}

/// A generator that repeats itself for the same seed: ChaCha20.
#[derive(Clone)]
pub struct SeededEntropy(ChaCha20Rng);

impl SeededEntropy {
    /// Makes the generator of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// Makes the generator of 32 seed bytes.
    #[must_use]
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

#[cfg(test)]
mod tests;

//! Draws from the seed.

use session_core::{Entropy, SeededEntropy};

/// Microseconds since the run began.
pub(super) type Micros = u64;

/// Microseconds of a second.
pub(super) const SECOND: Micros = 1_000_000;

/// Draws from the distributions that the model needs.
pub(super) struct Draw(SeededEntropy);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// Returns a number of [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(super) fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.0.below(bound.into())).expect("it is below a u32")
    }

    /// Returns a number below `bound` that is none of `not`.
    pub(super) fn other(&mut self, bound: u32, not: &[u32]) -> u32 {
        loop {
            let number = self.below(bound);
            if !not.contains(&number) {
                return number;
            }
        }
    }

    /// Returns an exponential time of this mean.
    pub(super) fn wait(&mut self, mean: Micros) -> Micros {
        (-(mean as f64) * (1.0 - self.unit()).ln()) as Micros
    }

    /// Returns how often something happens that happens `mean` times on average (Knuth).
    pub(super) fn poisson(&mut self, mean: f64) -> u32 {
        let (floor, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > floor {
            product *= self.unit();
            count += 1;
        }
        count
    }

    pub(super) fn shuffled(&mut self, bound: u32) -> Vec<u32> {
        let mut all: Vec<u32> = (0..bound).collect();
        for last in (1..bound).rev() {
            all.swap(last as usize, self.below(last + 1) as usize);
        }
        all
    }
}

/// Mixes the bits of a number: the finisher of SplitMix64.
pub(super) fn finish(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

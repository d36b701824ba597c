//! How long things take on the way, and what happens to them.
//!
//! Hosts lie on a line; the distance between two is their one-way delay. Jitter, loss, repetition
//! and bandwidth come on top. Everything is integer arithmetic on a seeded generator.

use session_core::{Entropy, Span};

/// The quality of every path of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The shortest one-way delay.
    pub delay_ms_min: u64,
    /// How much longer it is between the two ends of the line.
    pub spread_ms: u64,
    /// Varies from packet to packet, evenly.
    pub jitter_ms: u64,
    /// One packet in a hundred takes up to this much longer still.
    pub tail_ms: u64,
    /// Packets lost, of 10,000.
    pub loss: u64,
    /// Datagrams delivered twice, of 10,000.
    pub repeat: u64,
    /// Bandwidth of one direction of a connection.
    pub bytes_per_ms: u64,
}

impl Link {
    /// Good connections on one continent.
    #[must_use]
    pub const fn good() -> Self {
        Self {
            delay_ms_min: 5,
            spread_ms: 40,
            jitter_ms: 4,
            tail_ms: 60,
            loss: 0,
            repeat: 0,
            bytes_per_ms: 12_500, // 100 Mbit/s
        }
    }

    /// Bad mobile connections: 5 % loss, long tails, repetition.
    #[must_use]
    pub const fn lossy() -> Self {
        Self {
            delay_ms_min: 20,
            spread_ms: 120,
            jitter_ms: 40,
            tail_ms: 400,
            loss: 500,
            repeat: 200,
            bytes_per_ms: 1_250, // 10 Mbit/s
        }
    }

    /// Returns one way's delay between two places of the line (0 to 1023), drawn anew each time.
    pub(crate) fn delay(&self, from: u16, to: u16, rng: &mut dyn Entropy) -> Span {
        let base = self.base(from, to);
        // One draw for both dice keeps the hot path short.
        let draw = rng.next_u64();
        let jitter = (draw >> 32) % (self.jitter_ms + 1);
        let tail = if draw.is_multiple_of(100) { (draw >> 16) % (self.tail_ms + 1) } else { 0 };
        Span::from_millis(base + jitter + tail)
    }

    /// Returns how much later a stream frame arrives because packets of it were lost and sent
    /// again.
    pub(crate) fn recovery(&self, from: u16, to: u16, rng: &mut dyn Entropy) -> Span {
        let mut late = 0;
        let mut wait = 2 * self.base(from, to) + 25;
        // After six losses of one packet the seventh try arrives: keeps the delay bounded.
        for _ in 0..6 {
            if !self.loses(rng) {
                break;
            }
            late += wait;
            wait *= 2;
        }
        Span::from_millis(late)
    }

    pub(crate) fn loses(&self, rng: &mut dyn Entropy) -> bool {
        self.loss > 0 && rng.below(10_000) < self.loss
    }

    pub(crate) fn repeats(&self, rng: &mut dyn Entropy) -> bool {
        self.repeat > 0 && rng.below(10_000) < self.repeat
    }

    fn base(&self, from: u16, to: u16) -> u64 {
        self.delay_ms_min + self.spread_ms * u64::from(from.abs_diff(to)) / 1024
    }
}

#[cfg(test)]
mod tests {
    use session_core::SeededEntropy;

    use super::*;

    #[test]
    fn delays_stay_within_what_the_link_says() {
        let (link, mut rng) = (Link::lossy(), SeededEntropy::new(1));
        let (mut least, mut most) = (u64::MAX, 0);
        for _ in 0..10_000 {
            let delay = link.delay(0, 512, &mut rng).as_millis();
            (least, most) = (least.min(delay), most.max(delay));
        }
        assert_eq!(least, 20 + 60);
        assert!((80 + 40 + 300..=80 + 40 + 400).contains(&most), "{most}");
    }

    #[test]
    fn a_good_link_loses_nothing_and_a_lossy_one_does() {
        let mut rng = SeededEntropy::new(2);
        let late = |link: Link, rng: &mut SeededEntropy| {
            (0..10_000).filter(|_| link.recovery(0, 9, rng) > Span::ZERO).count()
        };
        assert_eq!(late(Link::good(), &mut rng), 0);
        assert!((400..600).contains(&late(Link::lossy(), &mut rng)));
    }
}

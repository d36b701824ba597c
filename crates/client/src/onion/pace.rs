//! Exponential waits, drawn with integers so that a seed gives the same ones on every machine, and
//! the times at which packets leave.

use std::collections::VecDeque;

use session_core::{Entropy, Span, Time};

/// Packets that wait for their turn. More are not made: whoever wants one waits.
pub(crate) const QUEUE_MAX: usize = 64;

/// No wait is longer than this many means: one in 22,000 would be.
const MEANS_MAX: u64 = 10;

/// Bits behind the point.
const POINT: u32 = 32;

/// The natural logarithm of 2.
const LN_2: u64 = 2_977_044_472;

/// Draws a wait with this mean.
pub(crate) fn exponential(rng: &mut dyn Entropy, mean: Span) -> Span {
    let mean = mean.as_millis();
    // -ln(u) of a u that is even between 0 and 1.
    let natural = (u128::from(minus_log2(rng.next_u64())) * u128::from(LN_2)) >> POINT;
    let wait = (u128::from(mean) * natural) >> POINT;
    let longest = mean.saturating_mul(MEANS_MAX);
    Span::from_millis(u64::try_from(wait).unwrap_or(longest).min(longest))
}

// -log2(bits / 2^64), with 32 bits behind the point. The bits behind it come from squaring: it
// doubles a logarithm, and what it carries over is the next bit.
fn minus_log2(bits: u64) -> u64 {
    let bits = bits.max(1);
    let zeros = bits.leading_zeros();
    let mut mantissa = (bits << zeros) >> POINT; // 2^31 up to 2^32: 1 up to 2
    let mut fraction = 0_u64;
    for _ in 0..POINT {
        mantissa = (mantissa * mantissa) >> (POINT - 1);
        fraction <<= 1;
        if mantissa >> POINT != 0 {
            mantissa >>= 1;
            fraction |= 1;
        }
    }
    // bits = 2^(63 - zeros) * (1 up to 2)
    (u64::from(zeros + 1) << POINT) - fraction
}

/// What leaves at the next time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<T> {
    /// What waited longest.
    Real(T),
    /// Nothing waited: a packet that comes back.
    Loop,
    /// Nothing waited: a packet that is dropped by the last hop.
    Drop,
}

/// Of eight packets of cover, those that come back: requests have answers, so most cover has, too.
const LOOPS_OF_8: u64 = 7;

/// A Poisson process; what is to be sent takes its times, and adds none.
#[derive(Debug)]
pub(crate) struct Pace<T> {
    every: Span,
    next: Option<Time>,
    queue: VecDeque<T>,
    /// What leaves when nothing else is left.
    patient: VecDeque<T>,
}

impl<T> Pace<T> {
    pub(crate) const fn new(every: Span) -> Self {
        Self { every, next: None, queue: VecDeque::new(), patient: VecDeque::new() }
    }

    /// Begins, unless it has begun.
    pub(crate) fn begin(&mut self, now: Time, rng: &mut dyn Entropy) {
        if self.next.is_none() {
            self.next = Some(now + exponential(rng, self.every));
        }
    }

    /// Returns when something leaves next.
    pub(crate) const fn next(&self) -> Option<Time> {
        self.next
    }

    /// Returns how long somebody who comes now waits, on average.
    pub(crate) fn wait(&self) -> Span {
        Span::from_millis(self.every.as_millis() * (self.queue.len() as u64 + 1))
    }

    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() + self.patient.len() < QUEUE_MAX
    }

    /// Lets something wait for its turn; gives it back where there is no room. What is patient lets
    /// everything else go first.
    pub(crate) fn push(&mut self, what: T, is_patient: bool) -> Result<(), T> {
        if !self.has_room() {
            return Err(what);
        }
        let queue = if is_patient { &mut self.patient } else { &mut self.queue };
        queue.push_back(what);
        Ok(())
    }

    /// Returns what leaves now, if something does. The process does not wait for whoever is late:
    /// times that passed meanwhile, because the program slept, are left out.
    pub(crate) fn turn(&mut self, now: Time, rng: &mut dyn Entropy) -> Option<Turn<T>> {
        let due = self.next.filter(|due| *due <= now)?;
        // The moment it was due counts, or whatever delays us would stretch the waits.
        let after = due + exponential(rng, self.every);
        self.next = Some(after.max(now + Span::from_millis(1)));
        // Drawn in any case, so that what is sent does not shift the times of what follows.
        let coin = rng.below(8);
        Some(match self.queue.pop_front().or_else(|| self.patient.pop_front()) {
            Some(what) => Turn::Real(what),
            None if coin < LOOPS_OF_8 => Turn::Loop,
            None => Turn::Drop,
        })
    }
}

#[cfg(test)]
mod tests {
    use session_core::SeededEntropy;

    use super::*;

    #[test]
    fn logarithms_are_right_to_a_millionth() {
        for bits in [1, 2, 3, 1 << 40, u64::MAX / 3, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let exact = 64.0 - (bits as f64).log2();
            let got = minus_log2(bits) as f64 / 4_294_967_296.0;
            assert!((got - exact).abs() < 1e-6, "{bits}: {got}, not {exact}");
        }
    }

    #[test]
    fn waits_are_exponential() {
        let mut rng = SeededEntropy::new(1);
        let draws = 40_000;
        let mut waits: Vec<u64> = (0..draws)
            .map(|_| exponential(&mut rng, Span::from_millis(1000)).as_millis())
            .collect();
        waits.sort_unstable();
        let mean = waits.iter().sum::<u64>() / draws;
        assert!((970..1_030).contains(&mean), "{mean}");
        // ln 2, and ln 10: half and nine tenths are below.
        let median = waits[waits.len() / 2];
        let tenth = waits[waits.len() * 9 / 10];
        assert!((670..716).contains(&median), "{median}");
        assert!((2_230..2_380).contains(&tenth), "{tenth}");
        assert_eq!(exponential(&mut rng, Span::ZERO), Span::ZERO);
    }

    /// Runs a process for some minutes, with something to say at these seconds.
    fn times(seed: u64, say: &[u64]) -> (Vec<Time>, usize) {
        let (mut pace, mut rng) = (Pace::new(Span::from_secs(1)), SeededEntropy::new(seed));
        pace.begin(Time::ZERO, &mut rng);
        let (mut sent, mut real) = (Vec::new(), 0);
        for millis in 0..300_000 {
            let now = Time::from_millis(millis);
            if millis % 1000 == 0 && say.contains(&(millis / 1000)) {
                pace.push((), false).unwrap();
            }
            if let Some(turn) = pace.turn(now, &mut rng) {
                sent.push(now);
                real += usize::from(turn == Turn::Real(()));
            }
        }
        (sent, real)
    }

    #[test]
    fn what_is_said_does_not_change_when_packets_leave() {
        let (silent, none) = times(7, &[]);
        let (busy, real) = times(7, &[3, 4, 100, 200]);
        assert_eq!((none, real), (0, 4));
        assert_eq!(silent, busy);
        assert!((240..360).contains(&silent.len()), "{}", silent.len());
    }

    #[test]
    fn a_queue_is_bounded_and_a_pause_is_not_made_up_for() {
        let (mut pace, mut rng) = (Pace::new(Span::from_secs(1)), SeededEntropy::new(1));
        pace.begin(Time::ZERO, &mut rng);
        for number in 0..QUEUE_MAX {
            assert_eq!(pace.push(number, number == 0), Ok(()));
        }
        assert_eq!(pace.push(QUEUE_MAX, false), Err(QUEUE_MAX));
        let late = Time::from_millis(3_600_000);
        assert_eq!(pace.turn(late, &mut rng), Some(Turn::Real(1)), "the patient one waits");
        assert_eq!(pace.turn(late, &mut rng), None);
        assert!(pace.next().unwrap() > late);
    }
}

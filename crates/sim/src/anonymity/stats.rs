//! What a number of samples says, and how surely.

/// Two-sided normal quantile of 95 %.
const Z: f64 = 1.96;

/// An estimate with its interval of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Estimate {
    /// Returns the mean of `samples`; of none it is 0.
    #[must_use]
    pub fn mean(samples: &[f64]) -> Self {
        let count = samples.len().max(1) as f64;
        let value = samples.iter().sum::<f64>() / count;
        let squares: f64 = samples.iter().map(|sample| (sample - value).powi(2)).sum();
        let half = Z * (squares / (count - 1.0).max(1.0) / count).sqrt();
        Self { value, low: value - half, high: value + half }
    }

    /// Returns the share that `hits` are of `tries`, with the interval of Wilson.
    #[must_use]
    pub fn share(hits: usize, tries: usize) -> Self {
        let (hits, tries) = (hits as f64, tries.max(1) as f64);
        let value = hits / tries;
        let (scale, square) = (1.0 + Z * Z / tries, Z * Z / (2.0 * tries));
        let half = Z * (value * (1.0 - value) / tries + (Z / (2.0 * tries)).powi(2)).sqrt();
        let low = ((value + square - half) / scale).max(0.0);
        Self { value, low, high: ((value + square + half) / scale).min(1.0) }
    }

    /// Returns an estimate that is none: a value that was calculated.
    #[must_use]
    pub fn exact(value: f64) -> Self {
        Self { value, low: value, high: value }
    }
}

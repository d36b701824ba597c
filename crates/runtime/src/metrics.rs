//! Counters, gauges and histograms in the text format of Prometheus, version 0.0.4.
//!
//! Instruments are registered once, at start; using one is an atomic operation. Names, label names
//! and buckets are part of the program, so a bad one is a bug and panics. Label *values* are
//! escaped, and the number of series of one name is bounded by [`SERIES_MAX`].

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The content type of [`Registry::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series of one name. Labels are for a few known values, never for peers or accounts.
pub const SERIES_MAX: usize = 64;

/// The name and value of each label of a series.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

/// A number that comes and goes.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

/// A distribution over fixed buckets.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Distribution>);

#[derive(Debug)]
struct Distribution {
    bounds: &'static [f64],
    /// One count per bound and one for what is above all of them; not cumulative.
    counts: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

/// All instruments of a process.
#[derive(Clone, Default)]
pub struct Registry {
    families: Arc<Mutex<BTreeMap<&'static str, Family>>>,
}

struct Family {
    help: &'static str,
    /// By rendered labels, so that the output is in a fixed order.
    series: BTreeMap<String, Instrument>,
}

#[derive(Clone)]
enum Instrument {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes over a total that is kept elsewhere; a smaller one than before is ignored.
    pub fn raise_to(&self, total: u64) {
        self.0.fetch_max(total, Ordering::Relaxed);
    }

    /// Returns the total.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `change`, which may be negative.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    /// Returns the value.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Distribution { bounds, counts, sum: AtomicU64::new(0) }))
    }

    /// Counts `value`, in the unit of the buckets.
    pub fn observe(&self, value: f64) {
        let Distribution { bounds, counts, sum } = &*self.0;
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        counts[bucket].fetch_add(1, Ordering::Relaxed);
        // The closure always returns `Some`, so the update cannot fail.
        let _ = sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            Some((f64::from_bits(bits) + value).to_bits())
        });
    }

    /// Returns how many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Registry {
    /// Makes an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the counter of this name and these labels, made on first use.
    ///
    /// # Panics
    /// When the name is malformed or of another kind.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: Labels<'_>) -> Counter {
        let make = || Instrument::Counter(Counter::default());
        match self.instrument(name, help, labels, make) {
            Instrument::Counter(counter) => counter,
            _ => panic!("{name} is no counter"),
        }
    }

    /// Returns the gauge of this name and these labels, made on first use.
    ///
    /// # Panics
    /// When the name is malformed or of another kind.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Labels<'_>) -> Gauge {
        let make = || Instrument::Gauge(Gauge::default());
        match self.instrument(name, help, labels, make) {
            Instrument::Gauge(gauge) => gauge,
            _ => panic!("{name} is no gauge"),
        }
    }

    /// Returns the histogram of this name and these labels, made on first use. `bounds` are the
    /// inclusive upper ends of its buckets, ascending; a last one without end is added.
    ///
    /// # Panics
    /// When the name is malformed or of another kind, or the bounds do not ascend.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: Labels<'_>,
    ) -> Histogram {
        assert!(bounds.is_sorted_by(|a, b| a < b), "the bounds of {name} do not ascend");
        let make = || Instrument::Histogram(Histogram::new(bounds));
        match self.instrument(name, help, labels, make) {
            Instrument::Histogram(histogram) => histogram,
            _ => panic!("{name} is no histogram"),
        }
    }

    fn instrument(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Labels<'_>,
        make: impl FnOnce() -> Instrument,
    ) -> Instrument {
        assert!(is_name(name), "{name:?} is not a metric name");
        let labels = render_labels(labels);
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family =
            families.entry(name).or_insert_with(|| Family { help, series: BTreeMap::new() });
        if let Some(known) = family.series.get(&labels) {
            return known.clone();
        }
        let fresh = make();
        if let Some(other) = family.series.values().next() {
            assert_eq!(other.kind(), fresh.kind(), "{name} is registered as another kind");
        }
        if family.series.len() < SERIES_MAX {
            family.series.insert(labels, fresh.clone());
        } else {
            tracing::error!(name, limit = SERIES_MAX, "too many series; one is not exported");
        }
        fresh
    }

    /// Writes all instruments out.
    #[must_use]
    pub fn render(&self) -> String {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        for (name, family) in &*families {
            family.render(name, &mut out).expect("writing to a String cannot fail");
        }
        out
    }
}

impl Family {
    fn render(&self, name: &str, out: &mut String) -> fmt::Result {
        let Some(first) = self.series.values().next() else { return Ok(()) };
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(out, "# HELP {name} {help}")?;
        writeln!(out, "# TYPE {name} {}", first.kind())?;
        for (labels, instrument) in &self.series {
            match instrument {
                Instrument::Counter(counter) => {
                    writeln!(out, "{name}{} {}", braced(labels), counter.value())?;
                }
                Instrument::Gauge(gauge) => {
                    writeln!(out, "{name}{} {}", braced(labels), gauge.value())?;
                }
                Instrument::Histogram(histogram) => histogram.0.render(name, labels, out)?,
            }
        }
        Ok(())
    }
}

impl Distribution {
    fn render(&self, name: &str, labels: &str, out: &mut String) -> fmt::Result {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (nth, count) in self.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let bound = self.bounds.get(nth).map_or("+Inf".to_owned(), f64::to_string);
            writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}")?;
        }
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        writeln!(out, "{name}_sum{} {sum}", braced(labels))?;
        writeln!(out, "{name}_count{} {total}", braced(labels))
    }
}

impl Instrument {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn render_labels(labels: Labels<'_>) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        assert!(is_name(name) && !name.contains(':') && *name != "le", "label {name:?} is bad");
        let comma = if out.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        out.push_str(&format!("{comma}{name}=\"{value}\""));
    }
    out
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(word) && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests;

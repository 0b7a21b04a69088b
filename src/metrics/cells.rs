//! Where the values of series live: one cell each, labels rendered once.
//!
//! Not the exporter's own recorder. That keeps raw samples (1 KiB per histogram, and upkeep that
//! clones every key), copies all values for each scrape, and drops series by idle time alone,
//! untouched zero counters of live targets included.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metrics::atomics::AtomicU64;
use metrics::{CounterFn, GaugeFn, HistogramFn, Key};
use metrics_exporter_prometheus::formatting::{sanitize_label_key, sanitize_label_value};
use metrics_util::registry::Storage;

use crate::metrics::names;

/// One series: where it stands in the table of names, its labels as text, and its value.
#[derive(Debug)]
pub(super) struct Cell<V> {
    pub(super) family: usize,
    pub(super) labels: Box<str>,
    pub(super) value: V,
}

impl CounterFn for Cell<AtomicU64> {
    fn increment(&self, value: u64) {
        CounterFn::increment(&self.value, value);
    }

    fn absolute(&self, value: u64) {
        CounterFn::absolute(&self.value, value);
    }
}

impl GaugeFn for Cell<AtomicU64> {
    fn increment(&self, value: f64) {
        GaugeFn::increment(&self.value, value);
    }

    fn decrement(&self, value: f64) {
        GaugeFn::decrement(&self.value, value);
    }

    fn set(&self, value: f64) {
        GaugeFn::set(&self.value, value);
    }
}

/// A histogram with fixed bounds.
#[derive(Debug)]
pub(super) struct Buckets {
    pub(super) bounds: Arc<[f64]>,
    /// Not cumulative; the last is above every bound.
    pub(super) counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Buckets {
    fn new(bounds: Arc<[f64]>) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0.0_f64.to_bits()) }
    }

    pub(super) fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }
}

impl HistogramFn for Cell<Buckets> {
    fn record(&self, value: f64) {
        let Buckets { bounds, counts, sum } = &self.value;
        let at = bounds.partition_point(|bound| *bound < value);
        counts[at].fetch_add(1, Ordering::Relaxed);
        GaugeFn::increment(sum, value);
    }
}

/// Makes cells, each with the labels that all series share.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) constant: Vec<(&'static str, String)>,
    pub(super) bounds: Vec<(&'static str, Arc<[f64]>)>,
    pub(super) default_bounds: Arc<[f64]>,
}

impl Cells {
    fn cell<V>(&self, key: &Key, value: V) -> Arc<Cell<V>> {
        let own = key.labels().map(|label| (label.key(), label.value()));
        let constant = self.constant.iter().map(|(name, value)| (*name, value.as_str()));
        let mut labels = String::new();
        for (name, value) in own.chain(constant) {
            let (name, value) = (sanitize_label_key(name), sanitize_label_value(value));
            let comma = if labels.is_empty() { "" } else { "," };
            // Writing to a String does not fail.
            let _ = write!(labels, "{comma}{name}=\"{value}\"");
        }
        Arc::new(Cell { family: names::position(key.name()), labels: labels.into(), value })
    }
}

impl Storage<Key> for Cells {
    type Counter = Arc<Cell<AtomicU64>>;
    type Gauge = Arc<Cell<AtomicU64>>;
    type Histogram = Arc<Cell<Buckets>>;

    fn counter(&self, key: &Key) -> Self::Counter {
        self.cell(key, AtomicU64::new(0))
    }

    fn gauge(&self, key: &Key) -> Self::Gauge {
        self.cell(key, AtomicU64::new(0.0_f64.to_bits()))
    }

    fn histogram(&self, key: &Key) -> Self::Histogram {
        let own = self.bounds.iter().find(|(name, _)| *name == key.name());
        let bounds = own.map_or(&self.default_bounds, |(_, bounds)| bounds);
        self.cell(key, Buckets::new(Arc::clone(bounds)))
    }
}

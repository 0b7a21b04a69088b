//! The text format of Prometheus, in pieces: a scrape of thousands of series is never held as a
//! whole, and whoever sends it can let others run in between.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::vec;

use metrics::Key;
use metrics::atomics::AtomicU64;
use metrics_exporter_prometheus::formatting::{write_help_line, write_type_line};
use metrics_util::registry::Registry;

use crate::metrics::cells::{Buckets, Cell, Cells};
use crate::metrics::names::{self, Kind};

/// A piece ends with the series that makes it at least this long, bytes.
const PIECE: usize = 8 * 1024;

/// The series of one scrape, by metric; gives pieces of text.
#[derive(Debug)]
pub struct Exposition {
    series: vec::IntoIter<Series>,
    family: Option<usize>,
}

#[derive(Debug)]
enum Series {
    Counter(Arc<Cell<AtomicU64>>),
    Gauge(Arc<Cell<AtomicU64>>),
    Histogram(Arc<Cell<Buckets>>),
}

impl Series {
    /// Metric and labels: what a scrape is ordered by.
    fn place(&self) -> (usize, &str) {
        match self {
            Self::Counter(cell) | Self::Gauge(cell) => (cell.family, &cell.labels),
            Self::Histogram(cell) => (cell.family, &cell.labels),
        }
    }
}

impl Exposition {
    pub(super) fn new(registry: &Registry<Key, Cells>) -> Self {
        let mut series = Vec::new();
        registry.visit_counters(|_, cell| series.push(Series::Counter(Arc::clone(cell))));
        registry.visit_gauges(|_, cell| series.push(Series::Gauge(Arc::clone(cell))));
        registry.visit_histograms(|_, cell| series.push(Series::Histogram(Arc::clone(cell))));
        series.sort_unstable_by(|left, right| left.place().cmp(&right.place()));
        Self { series: series.into_iter(), family: None }
    }
}

impl Iterator for Exposition {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut text = String::new();
        while text.len() < PIECE {
            let Some(series) = self.series.next() else { break };
            let (family, labels) = series.place();
            let (name, kind, help) = names::TABLE[family];
            if self.family.replace(family) != Some(family) {
                write_help_line(&mut text, name, None, None, help);
                write_type_line(&mut text, name, None, None, kind.as_str());
            }
            match &series {
                Series::Counter(cell) => {
                    line(&mut text, name, labels, cell.value.load(Ordering::Relaxed));
                }
                Series::Gauge(cell) => {
                    let value = f64::from_bits(cell.value.load(Ordering::Relaxed));
                    line(&mut text, name, labels, value);
                }
                Series::Histogram(cell) => histogram(&mut text, name, labels, &cell.value),
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    // Writing to a String does not fail.
    let _ = match labels {
        "" => writeln!(text, "{name} {value}"),
        labels => writeln!(text, "{name}{{{labels}}} {value}"),
    };
}

fn histogram(text: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut count = 0;
    for (at, own) in buckets.counts.iter().enumerate() {
        count += own.load(Ordering::Relaxed);
        // Writing to a String does not fail.
        let _ = match buckets.bounds.get(at) {
            Some(le) => writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}"),
            None => writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"),
        };
    }
    line(text, &format!("{name}_sum"), labels, buckets.sum());
    line(text, &format!("{name}_count"), labels, count);
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

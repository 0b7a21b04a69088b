//! Latencies of cumulative buckets.

use crate::report::model::{Latency, Quantile};

/// Counts up to each bound, as Prometheus has them; both spellings of a bound are one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram {
    /// Upper bound and how many were up to it, ascending; the last bound is infinite.
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// Adds `count` to the bucket up to `le`, a label's value; `false` when that is no number.
    pub(super) fn add(&mut self, le: &str, count: f64) -> bool {
        let bound = match le {
            "+Inf" => f64::INFINITY,
            le => match le.parse::<f64>() {
                Ok(bound) if !bound.is_nan() => bound,
                Ok(_) | Err(_) => return false,
            },
        };
        if !count.is_finite() || count < 0.0 {
            return false;
        }
        match self.buckets.binary_search_by(|(known, _)| known.total_cmp(&bound)) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (bound, count)),
        }
        true
    }

    /// How many there are; `None` without the infinite bucket, which alone has all.
    pub(super) fn total(&self) -> Option<f64> {
        let (bound, count) = self.buckets.last()?;
        (bound.is_infinite() && *count > 0.0).then_some(*count)
    }

    /// The value that `share` of all are no larger than, taken as even within its bucket.
    pub(super) fn quantile(&self, share: f64) -> Option<Quantile> {
        let rank = share * self.total()?;
        let (mut below, mut lower) = (0.0_f64, 0.0);
        for (bound, count) in &self.buckets {
            // Counts are extrapolated each by itself: they may fall by a rounding.
            let count = count.max(below);
            if count >= rank && bound.is_finite() {
                let within = count - below;
                let part = if within > 0.0 { (rank - below) / within } else { 1.0 };
                let seconds = lower + (bound - lower) * part.clamp(0.0, 1.0);
                return Some(Quantile { seconds, above: false });
            }
            if bound.is_infinite() {
                return Some(Quantile { seconds: lower, above: true });
            }
            (below, lower) = (count, *bound);
        }
        None
    }

    /// The quantiles of a report.
    pub(super) fn latency(&self) -> Option<Latency> {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| self.quantile(share));
        Some(Latency { p50: p50?, p90: p90?, p99: p99? })
    }

    /// Finite bounds.
    pub(super) fn bounds(&self) -> impl Iterator<Item = f64> {
        self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite())
    }

    /// How many are in each row of `bounds` and above the last; `None` when a bound is unknown here.
    pub(super) fn rows(&self, bounds: &[f64]) -> Option<Vec<f64>> {
        let mut below = 0.0_f64;
        let all = bounds.iter().copied().chain(std::iter::once(f64::INFINITY));
        let row = |bound: f64| {
            let at = self.buckets.binary_search_by(|(known, _)| known.total_cmp(&bound)).ok()?;
            let count = self.buckets[at].1.max(below);
            let row = count - below;
            below = count;
            Some(row)
        };
        all.map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(buckets: &[(&str, f64)]) -> Histogram {
        let mut histogram = Histogram::default();
        for (le, count) in buckets {
            assert!(histogram.add(le, *count));
        }
        histogram
    }

    #[test]
    fn quantiles_are_those_of_prometheus_within_the_range_of_the_histogram() {
        let histogram = of(&[("0.1", 50.0), ("1.0", 90.0), ("1", 0.0), ("+Inf", 100.0)]);
        let seconds = |share| histogram.quantile(share).expect("counts");
        assert_eq!(seconds(0.5), Quantile { seconds: 0.1, above: false });
        assert_eq!(seconds(0.7), Quantile { seconds: 0.55, above: false });
        // Beyond the last bound nothing is known but that it is beyond.
        assert_eq!(seconds(0.99), Quantile { seconds: 1.0, above: true });
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert_eq!(of(&[]).latency(), None);
        assert_eq!(of(&[("0.1", 5.0)]).latency(), None, "the infinite bucket is missing");
        assert_eq!(of(&[("0.1", 0.0), ("+Inf", 0.0)]).latency(), None);
        let mut histogram = Histogram::default();
        assert!(!histogram.add("x", 1.0) && !histogram.add("0.1", f64::NAN));
        assert!(!histogram.add("0.1", -1.0) && histogram == Histogram::default());
    }

    #[test]
    fn rows_are_what_is_between_two_bounds() {
        let histogram = of(&[("0.1", 50.0), ("1", 90.0), ("+Inf", 100.0)]);
        assert_eq!(histogram.rows(&[0.1, 1.0]), Some(vec![50.0, 40.0, 10.0]));
        assert_eq!(histogram.rows(&[0.1, 0.5]), None);
        assert_eq!(histogram.bounds().collect::<Vec<_>>(), [0.1, 1.0]);
    }
}

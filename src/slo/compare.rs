//! Whether a share of one time differs from that of another.
//!
//! Intervals take attempts for independent. Attempts that fail together because one thing broke say
//! less than an interval makes of them: it is narrower than the truth then.

use crate::slo::Counts;

/// The quantile of the normal distribution for two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// How much the share of good attempts changed, with an interval of confidence of 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The share now less the one before.
    pub difference: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Change {
    /// Whether the interval is on one side of no change.
    pub fn is_clear(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The share of bad attempts behind `counts`, an interval of 95 % (Wilson 1927); `None` of nothing.
pub fn interval(counts: &Counts) -> Option<(f64, f64)> {
    let (n, p) = (counts.total(), counts.error_share()?);
    let z2 = Z * Z;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // Rounding must not put a share of 0 or 1 outside.
    Some(((middle - half).clamp(0.0, p), (middle + half).clamp(p, 1.0)))
}

/// How the share of good attempts changed from `before` to `now`: the difference of two proportions
/// by Newcombe's hybrid score (1998, method 10). `None` when either is of nothing.
pub fn change(now: &Counts, before: &Counts) -> Option<Change> {
    let (bad, past) = (now.error_share()?, before.error_share()?);
    let ((low, high), (past_low, past_high)) = (interval(now)?, interval(before)?);
    // Of good shares, which fall as bad ones rise.
    let difference = past - bad;
    Some(Change {
        difference,
        low: difference - (past - past_low).hypot(high - bad),
        high: difference + (past_high - past).hypot(bad - low),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(bad: f64, total: f64) -> Counts {
        Counts::new(bad, total, 0.0).expect("sound")
    }

    #[test]
    fn the_published_examples_come_out() {
        // Newcombe 1998, Table II, (a) 56/70 − 48/80: 0.0524 to 0.3339; (f) 9/10 − 3/10: 0.1705 to 0.8090.
        for (now, before, low, high) in
            [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)]
        {
            let of = |(good, all): (u32, u32)| counts(f64::from(all - good), f64::from(all));
            let change = change(&of(now), &of(before)).expect("counts");
            assert!((change.low - low).abs() < 5e-5 && (change.high - high).abs() < 5e-5);
            assert!(change.is_clear());
        }
    }

    #[test]
    fn nothing_is_compared_with_nothing() {
        assert_eq!(change(&counts(0.0, 10.0), &counts(0.0, 0.0)), None);
        assert_eq!(interval(&counts(0.0, 0.0)), None);
        let same = change(&counts(1.0, 1000.0), &counts(1.0, 1000.0)).expect("counts");
        assert!(same.difference == 0.0 && !same.is_clear());
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_difference(
            a in 0u32..500, b in 0u32..500, more in 1u32..5000, others in 1u32..5000,
        ) {
            let (now, before) = (counts(a.into(), (a + more).into()), counts(b.into(), (b + others).into()));
            let change = change(&now, &before).expect("counts");
            prop_assert!(change.low <= change.difference && change.difference <= change.high);
            prop_assert!(change.low >= -1.0 && change.high <= 1.0);
        }
    }
}

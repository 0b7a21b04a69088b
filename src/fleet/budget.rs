//! How often each agent may ask so that the fleet stays within a budget.
//!
//! Intervals stand on a grid of ten steps to a decade, rounded up: one agent more or less seldom
//! changes them, and with them the plans of all others.

use std::time::Duration;

use crate::schedule::Cadence;

/// The grid: preferred numbers (ISO 3, R10), in thousandths.
const STEPS: [u64; 10] = [1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000];

/// An agent's share of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    interval: Duration,
    admitted: usize,
}

impl Share {
    /// The share when each of `askers` (how many agents, times how many questions of each in one
    /// interval) asks no oftener than every `base`, and all together at most `budget` times a
    /// second.
    ///
    /// Where that takes intervals of more than a day, only some of the agents ask.
    pub(super) fn of(askers: &[(usize, usize)], budget: f64, base: Duration) -> Self {
        let agents = askers.iter().map(|(agents, _)| agents).sum();
        let all = askers.iter().map(|(agents, each)| agents.saturating_mul(*each)).sum::<usize>();
        let base = base.clamp(Cadence::MIN_INTERVAL, Cadence::MAX_INTERVAL);
        if all == 0 {
            return Self { interval: base, admitted: agents };
        }
        let budget = if budget.is_finite() { budget.max(0.0) } else { 0.0 };
        let longest = Cadence::MAX_INTERVAL.as_secs_f64();
        let needed = all as f64 / budget;
        if needed > longest {
            let each = askers.iter().map(|(_, each)| *each).max().unwrap_or_default().max(1);
            let admitted = (budget * longest / each as f64) as usize;
            return Self { interval: Cadence::MAX_INTERVAL, admitted: admitted.min(agents) };
        }
        let needed = Duration::from_secs_f64(needed);
        let interval = if needed <= base { base } else { round_up(needed) };
        Self { interval, admitted: agents }
    }

    /// Time between two attempts of one target, for the agent that is `rank`th of all; `None` when
    /// the budget is used up by those before it.
    pub(super) fn interval(&self, rank: usize) -> Option<Duration> {
        (rank < self.admitted).then_some(self.interval)
    }
}

/// The first of the grid at or above `time`, at most a day.
fn round_up(time: Duration) -> Duration {
    let millis = u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let mut decade = 1u64;
    loop {
        for step in STEPS {
            let value = step * decade / 100;
            if value >= millis {
                return Duration::from_millis(value).min(Cadence::MAX_INTERVAL);
            }
        }
        decade *= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_fleet_stays_within_its_budget(
            askers in proptest::collection::vec((0usize..20_000, 0usize..50), 1..4),
            budget in prop_oneof![0.0f64..0.01, 0.0f64..1000.0],
            base in 0u64..100_000_000,
        ) {
            let base = Duration::from_millis(base);
            let share = Share::of(&askers, budget, base);
            let agents: usize = askers.iter().map(|(agents, _)| agents).sum();
            // Whichever agents come first.
            let mut each: Vec<usize> =
                askers.iter().flat_map(|(agents, each)| vec![*each; *agents]).collect();
            each.sort_unstable_by(|left, right| right.cmp(left));
            let rate: f64 = (0..agents)
                .filter_map(|rank| Some(each[rank] as f64 / share.interval(rank)?.as_secs_f64()))
                .sum();
            prop_assert!(rate <= budget * 1.000_001, "{rate} > {budget}");
            if let Some(interval) = share.interval(0) {
                prop_assert!(interval >= base.min(Cadence::MAX_INTERVAL));
                prop_assert!((Cadence::MIN_INTERVAL..=Cadence::MAX_INTERVAL).contains(&interval));
            }
        }
    }

    #[test]
    fn nobody_asks_without_a_budget() {
        for budget in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::of(&[(10, 1)], budget, Duration::from_secs(5)).interval(0), None);
        }
        assert_eq!(
            Share::of(&[(10, 0)], 0.0, Duration::from_secs(5)).interval(9),
            Some(Duration::from_secs(5))
        );
    }

    #[test]
    fn one_agent_more_seldom_changes_the_interval() {
        let interval = |agents| Share::of(&[(agents, 1)], 10.0, Duration::from_secs(5)).interval(0);
        let intervals: std::collections::BTreeSet<_> = (5_000..5_500).map(interval).collect();
        assert!(intervals.len() <= 2, "{intervals:?}");
        assert_eq!(interval(10), Some(Duration::from_secs(5)));
        assert_eq!(interval(1_000), Some(Duration::from_secs(100)));
        assert_eq!(interval(1_001), Some(Duration::from_secs(125)));
    }
}

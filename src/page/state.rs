//! How a path, or many of them, stand: met, violated, or not known. Pure.
//!
//! What is not known is never met: an agent that is silent, a window that is old, an attempt that
//! could not tell.

use std::time::Duration;

use time::OffsetDateTime;

use crate::observation::Verdicts;

/// A window speaks of now for so long after its end.
const FRESH: Duration = Duration::from_secs(60);
/// And for so many times as long as the time between two windows of its path.
const RHYTHMS: u32 = 2;
/// But never longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// How a path stands, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Every attempt that could tell was met.
    Met,
    /// Nothing can be said of now.
    Unknown,
    /// Some attempts were violated.
    Partly,
    /// All were.
    Violated,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Met, Self::Unknown, Self::Partly, Self::Violated];

    /// Of attempts that are known to speak of now.
    pub fn of(verdicts: Verdicts) -> Self {
        match verdicts {
            Verdicts { violated: 0, met: 0, .. } => Self::Unknown,
            Verdicts { violated: 0, .. } => Self::Met,
            Verdicts { met: 0, .. } => Self::Violated,
            Verdicts { .. } => Self::Partly,
        }
    }

    /// The sign that stands for it, so that colour is never the only one.
    pub fn mark(self) -> char {
        match self {
            Self::Met => '√',
            Self::Unknown => '?',
            Self::Partly => '÷',
            Self::Violated => '×',
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Unknown => "unknown",
            Self::Partly => "partly violated",
            Self::Violated => "violated",
        }
    }
}

/// Whether a window that ended at `ended_at` speaks of `now`, when windows of its path come every
/// `rhythm`.
pub(super) fn is_fresh(
    ended_at: OffsetDateTime,
    rhythm: Option<Duration>,
    now: OffsetDateTime,
) -> bool {
    let slack = rhythm.unwrap_or_default().saturating_mul(RHYTHMS);
    now - ended_at <= (FRESH + slack).min(LONGEST)
}

/// Paths by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u32; State::ALL.len()]);

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, state: State) {
        self.0[state as usize] += 1;
    }

    /// Counts all of `other`.
    pub fn join(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// How many are in `state`.
    pub fn count(&self, state: State) -> u32 {
        self.0[state as usize]
    }

    /// All of them.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Those with violated attempts.
    pub fn failing(&self) -> u32 {
        self.count(State::Partly) + self.count(State::Violated)
    }

    /// How they stand together: as the worst of them, but violated only when all are; `None` of
    /// none.
    pub fn overall(&self) -> Option<State> {
        if self.failing() > 0 && self.count(State::Violated) < self.total() {
            return Some(State::Partly);
        }
        State::ALL.into_iter().rev().find(|state| self.count(*state) > 0)
    }

    /// How bad they are together: the share of failing ones first, then of unknown ones.
    pub fn badness(&self) -> u64 {
        let all = u64::from(self.total().max(1));
        let share = |count: u32| u64::from(count) * 1_000_000 / all;
        share(self.failing()) * 2_000_000 + share(self.count(State::Unknown))
    }
}

/// `met`, or `2 violated, 1 unknown, 9 met`.
impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let there = State::ALL.into_iter().rev().filter(|state| self.count(*state) > 0);
        for (index, state) in there.enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match self.total() {
                1 => f.write_str(state.word())?,
                _ => write!(f, "{comma}{} {}", self.count(state), state.word())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdicts(met: u64, violated: u64, inconclusive: u64) -> Verdicts {
        Verdicts { met, violated, inconclusive }
    }

    proptest! {
        #[test]
        fn nothing_is_met_without_an_attempt_that_was(v in 0u64..3, i in 0u64..9) {
            prop_assert_ne!(State::of(verdicts(0, v, i)), State::Met);
        }

        #[test]
        fn a_violation_always_shows(m in 0u64..9, v in 1u64..9, i in 0u64..9) {
            prop_assert!(State::of(verdicts(m, v, i)) >= State::Partly);
        }

        #[test]
        fn one_path_that_is_not_met_keeps_all_from_being_met(met in 0u32..9, other in 1usize..4) {
            let mut counts = Counts::default();
            (0..met).for_each(|_| counts.add(State::Met));
            counts.add(State::ALL[other]);
            let expected = if met > 0 { State::ALL[other].min(State::Partly) } else { State::ALL[other] };
            prop_assert_eq!(counts.overall(), Some(expected));
        }
    }

    #[test]
    fn attempts_that_cannot_tell_make_a_path_unknown() {
        assert_eq!(State::of(verdicts(0, 0, 5)), State::Unknown);
        assert_eq!(Counts::default().overall(), None);
    }

    #[test]
    fn a_window_speaks_of_now_for_as_long_as_its_path_is_asked() {
        let end = OffsetDateTime::UNIX_EPOCH;
        let fresh = |age: u64, rhythm: Option<u64>| {
            is_fresh(end, rhythm.map(Duration::from_secs), end + Duration::from_secs(age))
        };
        assert_eq!([60, 61].map(|age| fresh(age, None)), [true, false]);
        assert_eq!([660, 661].map(|age| fresh(age, Some(300))), [true, false]);
        assert_eq!([3600, 3601].map(|age| fresh(age, Some(86_400))), [true, false]);
    }

    #[test]
    fn counts_are_told_worst_first() {
        let mut counts = Counts::default();
        counts.add(State::Met);
        assert_eq!(counts.to_string(), "met");
        counts.add(State::Violated);
        counts.add(State::Unknown);
        assert_eq!(counts.to_string(), "1 violated, 1 unknown, 1 met");
    }
}

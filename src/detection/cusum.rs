//! The sequential tests: is a path broken now, and is a broken one whole again? Pure arithmetic.
//!
//! CUSUM (Page 1954): a score grows with each failure and shrinks with each success by the logarithm
//! of how much likelier that is on a broken path than on a whole one, and never falls below zero.
//! It opens an alarm at a threshold. No other test with its rate of false alarms sees a fault of
//! the rate that it is made for sooner on average (Lorden 1971).
//!
//! Two of them run side by side, one for faults that fail everything and one for 5 % of loss. With
//! the lowest background of 10⁻⁴ three failures in a row open the first (3 × 9.1 ≥ 27), five
//! among 197 attempts or four among 75 the second. `bench/detect` measures both.

/// The lowest rate of failures that a whole path is taken to have: nothing is perfect.
pub(super) const LEAST_BACKGROUND: f32 = 1e-4;
/// The highest: what fails oftener is broken, however long it has been.
pub(super) const MOST_BACKGROUND: f32 = 0.01;

/// What a test looks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Design {
    /// Rate of failures of the broken path that it is made for.
    rate: f32,
    /// The score that opens an alarm.
    threshold: f32,
}

/// Everything fails, or nearly so.
pub(super) const HARD: Design = Design { rate: 0.9, threshold: 27.0 };
/// One in twenty fails.
pub(super) const LOSS: Design = Design { rate: 0.05, threshold: 20.8 };

/// A broken path is whole again at this score of the test that runs the other way: one in 10⁴
/// that are still broken is taken for whole.
const HEALED: f32 = 9.21;
/// A rate is never taken to be closer to 0 or 1 than this when it is held against attempts.
const MARGIN: f32 = 0.02;

/// The state of one test: its score, and what it has seen since that was last zero.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Run {
    score: f32,
    /// When the first of its failures was, seconds since 1970.
    pub(super) since: u32,
    /// Attempts since then, that one included.
    pub(super) attempts: u32,
    /// Failures among them.
    pub(super) failures: u32,
}

impl Run {
    /// Takes in successes, then failures, of attempts that began at `at`; whether an alarm opens.
    ///
    /// Within what is told at once the order is not known. Failures last is the order that makes
    /// the highest score, so that none is seen later than attempt by attempt.
    pub(super) fn take(
        &mut self,
        design: Design,
        background: f32,
        at: u32,
        (successes, failures): (u32, u32),
    ) -> bool {
        let rate = design.rate.max(3.0 * background);
        let success = ((1.0 - rate) / (1.0 - background)).ln();
        let failure = (rate / background).ln();
        self.score += success * successes as f32;
        self.attempts = self.attempts.saturating_add(successes);
        if self.score <= 0.0 {
            *self = Self::default();
        }
        if failures > 0 {
            if self.attempts == 0 {
                self.since = at;
            }
            // A fault that lasts must not make its end hard to see.
            self.score = (self.score + failure * failures as f32).min(2.0 * design.threshold);
            self.attempts = self.attempts.saturating_add(failures);
            self.failures = self.failures.saturating_add(failures);
        }
        self.score >= design.threshold
    }

    /// Whether it has seen failures that successes did not outweigh yet.
    pub(super) fn is_alive(&self) -> bool {
        self.score > 0.0
    }
}

/// How far a broken path is on its way back.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Healing(f32);

impl Healing {
    /// Takes in successes, then failures, of a path that fails at `rate` while it is broken;
    /// whether it is whole again. One failure begins the way anew.
    pub(super) fn take(
        &mut self,
        rate: f32,
        background: f32,
        (successes, failures): (u32, u32),
    ) -> bool {
        if failures > 0 {
            self.0 = 0.0;
            return false;
        }
        let rate = rate.clamp(MARGIN, 1.0 - MARGIN).max(2.0 * background);
        self.0 += ((1.0 - background) / (1.0 - rate)).ln() * successes as f32;
        self.0 >= HEALED
    }
}

/// What a path fails by when nothing is wrong, learnt from blocks of attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Background {
    rate: f32,
    attempts: u16,
    failures: u16,
}

impl Default for Background {
    fn default() -> Self {
        Self { rate: LEAST_BACKGROUND, attempts: 0, failures: 0 }
    }
}

impl Background {
    /// Attempts of a block.
    const BLOCK: u16 = 500;
    /// A block with more failures than this is a fault and teaches nothing.
    const MOST_OF_BLOCK: u16 = Self::BLOCK / 50;
    /// The share that a block has in what is learnt.
    const WEIGHT: f32 = 0.1;

    /// The rate of the blocks so far, within its bounds. Up to ten times the lowest it is the
    /// lowest: a stray failure or two must not cost a fourth attempt until a hard fault is seen.
    pub(super) fn rate(&self) -> f32 {
        if self.rate <= 10.0 * LEAST_BACKGROUND { LEAST_BACKGROUND } else { self.rate }
    }

    /// Takes in attempts.
    pub(super) fn take(&mut self, (successes, failures): (u32, u32)) {
        let add = |sum: u16, more: u32| sum.saturating_add(more.min(u16::MAX.into()) as u16);
        self.attempts = add(self.attempts, successes.saturating_add(failures));
        self.failures = add(self.failures, failures);
        if self.attempts < Self::BLOCK {
            return;
        }
        let share = f32::from(self.failures) / f32::from(self.attempts);
        if share <= f32::from(Self::MOST_OF_BLOCK) / f32::from(Self::BLOCK) {
            let rate = self.rate + Self::WEIGHT * (share - self.rate);
            self.rate = rate.clamp(LEAST_BACKGROUND, MOST_BACKGROUND);
        }
        (self.attempts, self.failures) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens_after(
        design: Design,
        background: f32,
        told: impl Iterator<Item = (u32, u32)>,
    ) -> Option<usize> {
        let mut run = Run::default();
        told.take(100_000)
            .position(|counts| run.take(design, background, 7, counts))
            .map(|at| at + 1)
    }

    #[test]
    fn three_failures_in_a_row_are_enough_and_two_are_not() {
        assert_eq!(opens_after(HARD, LEAST_BACKGROUND, std::iter::repeat((0, 1))), Some(3));
        assert_eq!(opens_after(HARD, LEAST_BACKGROUND, [(100, 2)].into_iter()), None);
    }

    #[test]
    fn five_failures_in_two_hundred_attempts_are_loss_and_three_are_not() {
        let every = |n: u32| (1..).map(move |at| if at % n == 0 { (0, 1) } else { (1, 0) });
        assert!(opens_after(LOSS, LEAST_BACKGROUND, every(40)).is_some_and(|at| at <= 200));
        let three = [(0, 1), (60, 0), (0, 1), (60, 0), (0, 1), (500, 0)];
        assert_eq!(opens_after(LOSS, LEAST_BACKGROUND, three.into_iter()), None);
    }

    #[test]
    fn a_run_begins_at_its_first_failure() {
        let mut run = Run::default();
        run.take(HARD, LEAST_BACKGROUND, 10, (50, 0));
        assert!(!run.is_alive());
        run.take(HARD, LEAST_BACKGROUND, 20, (3, 1));
        run.take(HARD, LEAST_BACKGROUND, 30, (0, 1));
        assert_eq!((run.since, run.attempts, run.failures), (20, 2, 2));
    }

    #[test]
    fn what_failed_always_is_whole_after_three_successes_and_what_failed_seldom_after_more() {
        let until = |rate| {
            let mut healing = Healing::default();
            (1..).find(|_| healing.take(rate, LEAST_BACKGROUND, (1, 0)))
        };
        assert_eq!(until(1.0), Some(3));
        assert!((150..250).contains(&until(0.05).expect("some time")));
        let mut healing = Healing::default();
        assert!(!healing.take(1.0, LEAST_BACKGROUND, (100, 1)), "a failure among them");
    }

    #[test]
    fn a_little_loss_becomes_the_background_and_a_fault_does_not() {
        let learnt = |failures: u32| {
            let mut background = Background::default();
            for _ in 0..100 {
                background.take((500 - failures, failures));
            }
            background.rate()
        };
        assert_eq!(learnt(0), LEAST_BACKGROUND);
        assert!((learnt(3) - 0.006).abs() < 1e-4);
        assert_eq!(learnt(9), MOST_BACKGROUND);
        assert_eq!(learnt(25), LEAST_BACKGROUND, "5 % is a fault");
        assert_eq!(learnt(500), LEAST_BACKGROUND);
    }
}

//! The sequential tests: is a path broken now, and is a broken one whole again? Pure arithmetic.
//!
//! CUSUM (Page 1954): a score grows with each event (a failure, a slow reply) and shrinks with each
//! other attempt by the logarithm of how much likelier that is on a broken path than on a whole one,
//! and never falls below zero. It opens an alarm at a threshold. No other test with its rate of
//! false alarms sees a fault of the rate that it is made for sooner on average (Lorden 1971). A test
//! with a fixed error in all time (SPRT, e-process) has no place here: a path is watched for ever,
//! and what counts is false alarms a week.
//!
//! Two run side by side on failures, one for faults that fail everything and one for 5 % of loss.
//! With the lowest background of 10⁻⁴ three failures in a row open the first (3 × 9.1 ≥ 27), five
//! among 205 attempts or four among 83 the second. Two more run on slow replies. What they err by is
//! computed in [`rates`](super::rates) and told in `docs/detection.md`.

/// The lowest rate of failures that a whole path is taken to have: nothing is perfect.
pub(super) const LEAST_BACKGROUND: f32 = 1e-4;
/// The highest: what fails oftener is broken, however long it has been.
pub(super) const MOST_BACKGROUND: f32 = 0.01;
/// Up to this a path is to the test for hard faults as good as any: a stray failure or two must not
/// cost a fourth attempt until one is seen.
const AS_GOOD_AS_ANY: f32 = 3e-4;

/// What a test looks for.
#[derive(Debug, Clone, Copy)]
pub struct Design {
    /// Rate of events of the broken path that it is made for.
    pub rate: f32,
    /// The score that opens an alarm.
    pub threshold: f32,
}

impl Design {
    /// Everything fails, or nearly so.
    pub const HARD: Self = Self { rate: 0.9, threshold: 27.0 };
    /// One in twenty fails.
    pub const LOSS: Self = Self { rate: 0.05, threshold: 20.8 };
    /// Many replies are above what one in a hundred used to be above.
    pub const SHIFT: Self = Self { rate: 0.2, threshold: 22.0 };
    /// One reply in twenty takes much longer than one in a hundred used to.
    pub const TAIL: Self = Self { rate: 0.05, threshold: 20.0 };

    /// By how much the score falls with an attempt without event, and grows with an event, on a path
    /// with this background.
    pub fn steps(self, background: f32) -> (f32, f32) {
        let rate = self.rate.max(3.0 * background);
        (((1.0 - background) / (1.0 - rate)).ln(), (rate / background).ln())
    }

    /// The background that the test takes for a path with the learnt rate `learnt`.
    pub fn background(self, learnt: f32) -> f32 {
        let forgives = self.rate > 0.5 && learnt <= AS_GOOD_AS_ANY;
        if forgives { LEAST_BACKGROUND } else { learnt }
    }
}

/// The state of one test: its score, and what it has seen since that was last zero.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Run {
    score: f32,
    /// When the first of its events was, seconds since 1970.
    pub(super) since: u32,
    /// Attempts since then, that one included; above 65,535 they stand still.
    pub(super) attempts: u16,
    /// Events among them.
    pub(super) events: u16,
}

impl Run {
    /// The most attempts told at once whose order is taken to be the worst. Of ten, three failures
    /// are 120 ways to be three in a row, of a hundred 160,000: then false alarms would be many.
    const SHORT: u32 = 10;
    /// Parts into which more are divided at most.
    const PARTS: u32 = 64;

    /// Takes in attempts without event, then those with one, that began at `at`; whether an alarm
    /// opens.
    ///
    /// Within what is told at once the order is not known. Of a few, events come last: that makes
    /// the highest score, so that no fault is seen later than attempt by attempt. Of many, they are
    /// spread evenly.
    pub(super) fn take(
        &mut self,
        design: Design,
        background: f32,
        at: u32,
        (others, events): (u32, u32),
    ) -> bool {
        let steps = design.steps(background);
        let short = others.saturating_add(events) <= Self::SHORT;
        let parts = if short { 1 } else { events.clamp(1, Self::PARTS) };
        let part = |all: u32, n: u32| {
            let upto = |n: u32| (u64::from(all) * u64::from(n) / u64::from(parts)) as u32;
            upto(n + 1) - upto(n)
        };
        let mut opens = false;
        for n in 0..parts {
            self.add(steps, 2.0 * design.threshold, at, (part(others, n), part(events, n)));
            opens |= self.score >= design.threshold;
        }
        opens
    }

    fn add(&mut self, (down, up): (f32, f32), most: f32, at: u32, (others, events): (u32, u32)) {
        let more = |sum: u16, more: u32| sum.saturating_add(more.min(u16::MAX.into()) as u16);
        self.score -= down * others as f32;
        if self.score <= 0.0 {
            *self = Self::default();
        } else {
            self.attempts = more(self.attempts, others);
        }
        if events > 0 {
            if self.attempts == 0 {
                self.since = at;
            }
            // A fault that lasts must not make its end hard to see.
            self.score = (self.score + up * events as f32).min(most);
            self.attempts = more(self.attempts, events);
            self.events = more(self.events, events);
        }
    }

    /// Whether it has seen events that other attempts did not outweigh yet.
    pub(super) fn is_alive(&self) -> bool {
        self.score > 0.0
    }
}

/// How far a broken path is on its way back: the same test with the sides changed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Healing(f32);

impl Healing {
    /// A broken path is taken for whole at this score: what it then shows is 10⁵ times likelier of
    /// a whole one.
    pub(super) const ENOUGH: f32 = 11.5;
    /// A rate is never taken to be closer to 0 or 1 than this when it is held against attempts.
    const MARGIN: f32 = 0.02;

    /// Whether it is more than 19 to 1 on its way back.
    pub(super) fn is_likely(&self) -> bool {
        self.0 > 3.0
    }

    /// Takes in attempts without event, then those with one, of a path that has events at `rate`
    /// while it is broken and at `background` when it is whole; whether it is whole again.
    pub(super) fn take(
        &mut self,
        rate: f32,
        background: f32,
        (others, events): (u32, u32),
    ) -> bool {
        let rate = rate.clamp(Self::MARGIN, 1.0 - Self::MARGIN).max(2.0 * background);
        self.0 += ((1.0 - background) / (1.0 - rate)).ln() * others as f32;
        self.0 = (self.0 - (rate / background).ln() * events as f32).max(0.0);
        self.0 >= Self::ENOUGH
    }
}

/// How often events are on a path when nothing is wrong: what it is expected to be, and what blocks
/// of attempts have shown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Background {
    /// Attempts of the blocks so far, and events among them; old ones weigh less.
    attempts: f32,
    events: f32,
    /// The block under way.
    block: u16,
    block_events: u16,
}

impl Background {
    /// Attempts of a block.
    const BLOCK: u16 = 500;
    /// A block with more events than this is a fault and teaches nothing.
    const MOST_OF_BLOCK: u16 = Self::BLOCK / 50;
    /// Attempts that what is expected weighs as much as.
    const PRIOR: f32 = 10_000.0;
    /// Attempts that all blocks weigh as much as at most: three days and a half at one each 5 s.
    const MEMORY: f32 = 60_000.0;

    /// The rate of a path that is expected to have `expected`, within its bounds.
    pub(super) fn rate(&self, expected: f32) -> f32 {
        let rate = (self.events + Self::PRIOR * expected) / (self.attempts + Self::PRIOR);
        rate.clamp(expected, MOST_BACKGROUND.max(expected))
    }

    /// Takes in attempts without and with event.
    pub(super) fn take(&mut self, (others, events): (u32, u32)) {
        let add = |sum: u16, more: u32| sum.saturating_add(more.min(u16::MAX.into()) as u16);
        self.block = add(self.block, others.saturating_add(events));
        self.block_events = add(self.block_events, events);
        if self.block < Self::BLOCK {
            return;
        }
        let share = f32::from(self.block_events) / f32::from(self.block);
        if share <= f32::from(Self::MOST_OF_BLOCK) / f32::from(Self::BLOCK) {
            self.attempts += f32::from(self.block);
            self.events += f32::from(self.block_events);
            let kept = (Self::MEMORY / self.attempts).min(1.0);
            (self.attempts, self.events) = (self.attempts * kept, self.events * kept);
        }
        self.discard();
    }

    /// Forgets the block under way: a fault began or ended in it.
    pub(super) fn discard(&mut self) {
        (self.block, self.block_events) = (0, 0);
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
        let hard =
            |told: &[(u32, u32)]| opens_after(Design::HARD, LEAST_BACKGROUND, told.iter().copied());
        assert_eq!(hard(&[(0, 1); 5]), Some(3));
        assert_eq!(hard(&[(0, 2), (1, 1)]), None);
    }

    #[test]
    fn five_failures_in_two_hundred_attempts_are_loss_and_three_are_not() {
        let every = |n: u32| (1..).map(move |at| if at % n == 0 { (0, 1) } else { (1, 0) });
        let loss = |told: &mut dyn Iterator<Item = (u32, u32)>| {
            opens_after(Design::LOSS, LEAST_BACKGROUND, told)
        };
        assert!(loss(&mut every(40)).is_some_and(|at| at <= 200));
        let three = [(0, 1), (60, 0), (0, 1), (60, 0), (0, 1), (500, 0)];
        assert_eq!(loss(&mut three.into_iter()), None);
    }

    #[test]
    fn three_failures_somewhere_among_a_hundred_are_not_three_in_a_row() {
        let mut run = Run::default();
        assert!(!run.take(Design::HARD, LEAST_BACKGROUND, 7, (97, 3)));
        assert!(run.take(Design::HARD, LEAST_BACKGROUND, 7, (50, 50)), "a half is broken");
    }

    #[test]
    fn a_run_begins_at_its_first_failure() {
        let mut run = Run::default();
        run.take(Design::HARD, LEAST_BACKGROUND, 10, (50, 0));
        assert!(!run.is_alive());
        run.take(Design::HARD, LEAST_BACKGROUND, 20, (3, 1));
        run.take(Design::HARD, LEAST_BACKGROUND, 30, (0, 1));
        assert_eq!((run.since, run.attempts, run.events), (20, 2, 2));
    }

    #[test]
    fn what_failed_always_is_whole_after_three_successes_and_what_failed_seldom_after_more() {
        let until = |rate| {
            let mut healing = Healing::default();
            (1..).find(|_| healing.take(rate, LEAST_BACKGROUND, (1, 0)))
        };
        assert_eq!(until(1.0), Some(3));
        assert!((200..250).contains(&until(0.05).expect("some time")));
        let mut healing = Healing::default();
        healing.take(1.0, LEAST_BACKGROUND, (2, 0));
        assert!(!healing.take(1.0, LEAST_BACKGROUND, (0, 1)));
        assert!(!healing.take(1.0, LEAST_BACKGROUND, (2, 0)), "a failure was among them");
    }

    #[test]
    fn a_little_loss_becomes_the_background_and_a_fault_does_not() {
        let learnt = |failures: u32| {
            let mut background = Background::default();
            for _ in 0..1000 {
                background.take((500 - failures, failures));
            }
            background.rate(LEAST_BACKGROUND)
        };
        assert_eq!(learnt(0), LEAST_BACKGROUND);
        assert!((learnt(3) - 0.006).abs() < 1e-3);
        assert_eq!(learnt(10), MOST_BACKGROUND);
        assert_eq!(learnt(25), LEAST_BACKGROUND, "5 % is a fault");
        assert_eq!(learnt(500), LEAST_BACKGROUND);
    }

    #[test]
    fn a_stray_failure_costs_no_fourth_attempt() {
        let mut background = Background::default();
        for failures in [0, 1, 0, 1] {
            background.take((500 - failures, failures));
        }
        let learnt = background.rate(LEAST_BACKGROUND);
        assert!((2e-4..3e-4).contains(&learnt), "{learnt}");
        assert_eq!(Design::HARD.background(learnt), LEAST_BACKGROUND);
        assert_eq!(Design::LOSS.background(learnt), learnt);
    }
}

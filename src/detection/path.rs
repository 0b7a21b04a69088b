//! One path: what was told of it lately, its tests, and its alarms while they are open.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::detection::cusum::{Background, Design, Healing, LEAST_BACKGROUND, Run};
use crate::detection::latency::{
    ACCEPTED, Baseline, SLOW_BACKGROUND, VERY_SLOW_BACKGROUND, longest,
};
use crate::detection::taken::{Counts, Taken};
use crate::detection::{Asked, Change, Changes};
use crate::failure::Reason;
use crate::observation::{Expected, Observation, Verdicts};

/// Steps that are remembered of a path.
const RECENT: usize = 6;

/// What one telling added: attempts that began at `second` and `millisecond` at the earliest.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    second: u32,
    millisecond: u16,
    met: u16,
    violated: u16,
    inconclusive: u16,
}

/// An alarm that is open. Events are failures, or slow replies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Open {
    /// When the first event of its run began, milliseconds since 1970.
    pub(super) since: u64,
    /// Attempts since then that could have been one.
    pub(super) attempts: u32,
    /// Events among them.
    pub(super) events: u32,
    /// Share of events when the last of them was told (Jeffreys' estimate: what a few attempts have
    /// shown is doubtful, and a fault that lost three in a row by chance is not one of all).
    rate: f32,
    healing: Healing,
}

/// The state of a path.
#[derive(Debug)]
pub(super) struct State {
    pub(super) asked: Arc<Asked>,
    taken: Taken,
    hard: Run,
    loss: Run,
    shift: Run,
    tail: Run,
    failing_background: Background,
    slow_background: Background,
    baseline: Baseline,
    recent: [Step; RECENT],
    pub(super) failing: Option<Box<Open>>,
    pub(super) slow: Option<Box<Open>>,
    /// Failures of the newest window with any, by reason; nothing while nothing fails.
    reasons: Box<[(Reason, u64)]>,
    /// When it was told last, milliseconds since 1970.
    pub(super) told: u64,
}

impl State {
    pub(super) fn new(asked: Arc<Asked>) -> Self {
        Self {
            asked,
            taken: Taken::default(),
            hard: Run::default(),
            loss: Run::default(),
            shift: Run::default(),
            tail: Run::default(),
            failing_background: Background::default(),
            slow_background: Background::default(),
            baseline: Baseline::default(),
            recent: [Step::default(); RECENT],
            failing: None,
            slow: None,
            reasons: Box::default(),
            told: 0,
        }
    }

    /// Takes in what is new in `observation`, told at `now` (milliseconds since 1970).
    pub(super) fn take(&mut self, observation: &Observation, now: u64) -> Changes {
        let begun = milliseconds(observation);
        let start = u32::try_from(begun / 1000).unwrap_or(u32::MAX);
        let told = self.counts(observation);
        let (news, at) = match observation.window_seconds {
            // One attempt, told once.
            0 => (told, begun),
            _ => (self.taken.news(start, told), begun.max(self.told.min(now))),
        };
        self.told = self.told.max(now);
        if news == Counts::default() {
            return Changes::default();
        }
        self.remember(at, news);
        if news.violated > 0 || news.inconclusive > 0 {
            self.reasons = observation.reasons.iter().map(|(reason, it)| (*reason, *it)).collect();
        } else if self.recent.iter().all(|step| step.violated == 0 && step.inconclusive == 0)
            && self.failing.is_none()
            && !self.hard.is_alive()
        {
            self.reasons = Box::default();
        }
        let failing = self.judge_failures(at, (news.met.into(), news.violated.into()));
        // How fast a denial is says nothing.
        let replies = longest(observation).filter(|_| observation.expect == Expected::Reply);
        let slow = replies.and_then(|longest| self.judge_latency(at, news, longest));
        Changes { failing, slow }
    }

    fn counts(&self, observation: &Observation) -> Counts {
        let short = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
        let Verdicts { met, violated, inconclusive } = observation.verdicts;
        let [slow, very_slow] = self.baseline.slow(observation);
        Counts {
            met: short(met),
            violated: short(violated),
            inconclusive: short(inconclusive),
            slow: short(slow),
            very_slow: short(very_slow),
        }
    }

    fn judge_failures(&mut self, at: u64, counts: (u32, u32)) -> Option<Change> {
        if counts == (0, 0) {
            return None;
        }
        let learnt = self.failing_background.rate(LEAST_BACKGROUND);
        let take = |run: &mut Run, design: Design| {
            run.take(design, design.background(learnt), seconds(at), counts)
        };
        let hard = take(&mut self.hard, Design::HARD);
        let loss = take(&mut self.loss, Design::LOSS);
        self.failing_background.take(counts);
        let change = match &mut self.failing {
            Some(open) => open.take(learnt, counts).then_some(Change::Closed)?,
            None if hard || loss => Change::Opened,
            None => return None,
        };
        match change {
            Change::Opened => {
                let run = if hard { self.hard } else { self.loss };
                let open = Open::of(run, self.first_failure(run.since));
                self.failing = Some(Box::new(open));
                if open.is_hard() {
                    self.failing_background.discard();
                }
            }
            Change::Closed => {
                (self.hard, self.loss) = (Run::default(), Run::default());
                self.reasons = Box::default();
                if self.failing.take().is_some_and(|open| open.is_hard()) {
                    self.failing_background.discard();
                }
            }
        }
        Some(change)
    }

    /// Takes in replies; the longest of those that were told together took `longest` seconds.
    fn judge_latency(&mut self, at: u64, news: Counts, longest: f32) -> Option<Change> {
        let replies = u32::from(news.met);
        if replies == 0 {
            return None;
        }
        let counts = |events: u16| {
            let events = u32::from(events).min(replies);
            (replies - events, events)
        };
        let (slow, very_slow) = (counts(news.slow), counts(news.very_slow));
        let learnt = self.slow_background.rate(VERY_SLOW_BACKGROUND);
        let at = (at, seconds(at));
        let shifts = self.shift.take(Design::SHIFT, SLOW_BACKGROUND, at.1, slow);
        let trails = self.tail.take(Design::TAIL, learnt, at.1, very_slow);
        self.slow_background.take(very_slow);
        let change = match &mut self.slow {
            Some(open) => {
                let whole = open.take(SLOW_BACKGROUND, slow);
                let accepted = open.attempts >= ACCEPTED;
                if accepted {
                    self.baseline = Baseline::default();
                }
                (whole || accepted).then_some(Change::Closed)?
            }
            None if shifts || trails => Change::Opened,
            None => {
                self.baseline.take(replies, longest);
                return None;
            }
        };
        self.baseline.discard();
        match change {
            Change::Opened => {
                let run = if shifts { self.shift } else { self.tail };
                self.slow = Some(Box::new(Open::of(run, u64::from(run.since) * 1000)));
            }
            Change::Closed => {
                (self.shift, self.tail, self.slow) = (Run::default(), Run::default(), None);
            }
        }
        Some(change)
    }

    /// `since` to the millisecond, where it is still remembered.
    fn first_failure(&self, since: u32) -> u64 {
        let failed = self.recent.iter().filter(|step| step.violated > 0 && step.second == since);
        failed.map(Step::at).min().unwrap_or(u64::from(since) * 1000)
    }

    fn remember(&mut self, at: u64, news: Counts) {
        let Counts { met, violated, inconclusive, .. } = news;
        let millisecond = (at % 1000) as u16;
        let step = Step { second: seconds(at), millisecond, met, violated, inconclusive };
        let oldest = self.recent.iter_mut().min_by_key(|step| step.at()).expect("there are some");
        if oldest.at() <= step.at() {
            *oldest = step;
        }
    }

    /// What was told of attempts that began at `since` or later, as verdicts.
    pub(super) fn recently(&self, since: u64) -> Verdicts {
        let steps = self.recent.iter().filter(|step| step.at() >= since);
        steps.fold(Verdicts::default(), |sum, step| Verdicts {
            met: sum.met + u64::from(step.met),
            violated: sum.violated + u64::from(step.violated),
            inconclusive: sum.inconclusive + u64::from(step.inconclusive),
        })
    }

    /// What speaks of how the path is now, with when that began: since its alarm opened, since its
    /// failures began, or since `since`.
    pub(super) fn present(&self, since: u64) -> (Verdicts, u64) {
        let run = |attempts: u32, failures: u32| Verdicts {
            met: (attempts - failures).into(),
            violated: failures.into(),
            inconclusive: 0,
        };
        let lately = self.recently(since);
        match &self.failing {
            // Neither broken nor whole, as far as anybody can tell.
            Some(open) if open.healing.is_likely() => (Verdicts::default(), since),
            Some(open) if lately.violated < 3 => (run(open.attempts, open.events), open.since),
            Some(open) => (lately, open.since),
            None if self.hard.is_alive() => {
                let began = self.first_failure(self.hard.since);
                (run(self.hard.attempts.into(), self.hard.events.into()), began)
            }
            None => (lately, since),
        }
    }

    /// Failures by reason, as they were told last.
    pub(super) fn reasons(&self) -> BTreeMap<Reason, u64> {
        self.reasons.iter().copied().collect()
    }

    /// The share of failures that it is expected to have when nothing is wrong.
    pub(super) fn usual_failures(&self) -> f32 {
        self.failing_background.rate(LEAST_BACKGROUND)
    }

    /// The 99th percentile of its replies when nothing is wrong, seconds.
    pub(super) fn usual_seconds(&self) -> Option<f32> {
        self.baseline.seconds()
    }
}

impl Open {
    /// Whether its fault is one of which no part is to be taken for background. What fails a little
    /// for a while and is whole for a while is: else it would alarm for ever.
    fn is_hard(&self) -> bool {
        self.rate > 0.2
    }

    fn of(run: Run, since: u64) -> Self {
        let (attempts, events) = (run.attempts.into(), run.events.into());
        Self { since, attempts, events, rate: share(events, attempts), healing: Healing::default() }
    }

    /// Takes in attempts without event, then those with one; whether the path is whole again.
    fn take(&mut self, background: f32, counts: (u32, u32)) -> bool {
        self.attempts = self.attempts.saturating_add(counts.0).saturating_add(counts.1);
        if counts.1 > 0 {
            self.events = self.events.saturating_add(counts.1);
            self.rate = share(self.events, self.attempts);
        }
        self.healing.take(self.rate, background, counts)
    }
}

impl Step {
    fn at(&self) -> u64 {
        u64::from(self.second) * 1000 + u64::from(self.millisecond)
    }
}

fn share(events: u32, attempts: u32) -> f32 {
    (events as f32 + 0.5) / (attempts as f32 + 1.0)
}

fn seconds(at: u64) -> u32 {
    u32::try_from(at / 1000).unwrap_or(u32::MAX)
}

fn milliseconds(observation: &Observation) -> u64 {
    u64::try_from(observation.window_start.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

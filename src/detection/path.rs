//! One path: what was told of it lately, its tests, and its alarm while one is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::detection::cusum::{Background, HARD, Healing, LOSS, Run};
use crate::detection::taken::{Counts, Taken};
use crate::detection::{Asked, Change};
use crate::failure::Reason;
use crate::observation::{Observation, Verdicts};

/// Steps that are remembered of a path.
const RECENT: usize = 8;

/// What one telling added.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// When its attempts began at the earliest, milliseconds since 1970.
    at: u64,
    counts: Counts,
}

/// An alarm that is open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Open {
    /// When the first failure of its run began, milliseconds since 1970.
    pub(super) since: u64,
    /// Conclusive attempts since then.
    pub(super) attempts: u32,
    /// Failures among them.
    pub(super) failures: u32,
    /// Share of failures when the last of them was told.
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
    background: Background,
    pub(super) open: Option<Open>,
    recent: [Step; RECENT],
    /// Failures of the newest window with any, by reason; nothing while nothing fails.
    reasons: BTreeMap<Reason, u64>,
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
            background: Background::default(),
            open: None,
            recent: [Step::default(); RECENT],
            reasons: BTreeMap::new(),
            told: 0,
        }
    }

    /// Takes in what is new in `observation`, told at `now` (milliseconds since 1970).
    pub(super) fn take(&mut self, observation: &Observation, now: u64) -> Option<Change> {
        let begun = milliseconds(observation);
        let start = u32::try_from(begun / 1000).unwrap_or(u32::MAX);
        let told = counts(&observation.verdicts);
        let (news, at) = match observation.window_seconds {
            // One attempt, told once.
            0 => (told, begun),
            _ => (self.taken.news(start, told), begun.max(self.told.min(now))),
        };
        self.told = self.told.max(now);
        if news == Counts::default() {
            return None;
        }
        if !observation.reasons.is_empty() {
            self.reasons.clone_from(&observation.reasons);
        }
        self.remember(Step { at, counts: news });
        self.judge(at, (news.met.into(), news.violated.into()))
    }

    fn judge(&mut self, at: u64, counts: (u32, u32)) -> Option<Change> {
        if counts == (0, 0) {
            return None;
        }
        let background = self.background.rate();
        let seconds = u32::try_from(at / 1000).unwrap_or(u32::MAX);
        let hard = self.hard.take(HARD, background, seconds, counts);
        let loss = self.loss.take(LOSS, background, seconds, counts);
        self.background.take(counts);
        if let Some(open) = &mut self.open {
            open.attempts = open.attempts.saturating_add(counts.0 + counts.1);
            if counts.1 > 0 {
                open.failures = open.failures.saturating_add(counts.1);
                open.rate = open.failures as f32 / open.attempts as f32;
            }
            if open.healing.take(open.rate, background, counts) {
                (self.hard, self.loss, self.open) = (Run::default(), Run::default(), None);
                self.reasons.clear();
                return Some(Change::Closed);
            }
            return None;
        }
        let run = match (hard, loss) {
            (true, _) => self.hard,
            (false, true) => self.loss,
            (false, false) => return None,
        };
        self.open = Some(Open {
            since: self.first_failure(run.since),
            attempts: run.attempts,
            failures: run.failures,
            rate: run.failures as f32 / run.attempts as f32,
            healing: Healing::default(),
        });
        Some(Change::Opened)
    }

    /// `since` to the millisecond, where it is still remembered.
    fn first_failure(&self, since: u32) -> u64 {
        let failed = self.recent.iter().filter(|step| step.counts.violated > 0);
        let exact = failed.map(|step| step.at).filter(|at| at / 1000 == u64::from(since)).min();
        exact.unwrap_or(u64::from(since) * 1000)
    }

    fn remember(&mut self, step: Step) {
        let oldest = self.recent.iter_mut().min_by_key(|step| step.at).expect("there are some");
        if oldest.at <= step.at {
            *oldest = step;
        }
    }

    /// What was told of attempts that began at `since` or later, as verdicts.
    pub(super) fn recently(&self, since: u64) -> Verdicts {
        let steps = self.recent.iter().filter(|step| step.at >= since);
        steps.fold(Verdicts::default(), |sum, step| Verdicts {
            met: sum.met + u64::from(step.counts.met),
            violated: sum.violated + u64::from(step.counts.violated),
            inconclusive: sum.inconclusive + u64::from(step.counts.inconclusive),
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
        match self.open {
            Some(open) if lately.violated < 3 => (run(open.attempts, open.failures), open.since),
            Some(open) => (lately, open.since),
            None if self.hard.is_alive() => {
                let began = self.first_failure(self.hard.since);
                (run(self.hard.attempts, self.hard.failures), began)
            }
            None => (lately, since),
        }
    }

    /// Failures by reason, as they were told last.
    pub(super) fn reasons(&self) -> &BTreeMap<Reason, u64> {
        &self.reasons
    }
}

fn milliseconds(observation: &Observation) -> u64 {
    u64::try_from(observation.window_start.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

fn counts(verdicts: &Verdicts) -> Counts {
    let short = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
    Counts {
        met: short(verdicts.met),
        violated: short(verdicts.violated),
        inconclusive: short(verdicts.inconclusive),
        slow: 0,
    }
}

//! What was seen of every path: windows are added one by one, and summed up. Of a path that
//! changed only what came after the change counts: a diagnosis is of now.

use std::collections::HashMap;

use time::OffsetDateTime;

use crate::diagnosis::agents::Heard;
use crate::diagnosis::component::Names;
use crate::diagnosis::path::Path;
use crate::failure::{Blame, Reason};
use crate::observation::{Expected, Observation};

/// How much likelier two stretches must be than one, nats, before a path counts as changed.
const CHANGED: f64 = 6.0;

/// One window of one path.
#[derive(Debug, Clone, Copy)]
struct Window {
    path: u32,
    /// Seconds since 1970.
    start: i64,
    met: u64,
    violated: u64,
    /// Place of its reasons, of which there are some only if it has violated attempts.
    reasons: u32,
    kinds: u8,
}

/// Failing attempts by reason.
pub(super) type Reasons = Vec<(Reason, u64)>;

/// The attempts of one path.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) met: u64,
    pub(super) violated: u64,
    pub(super) reasons: Reasons,
    /// When the first window with violated attempts began, seconds since 1970.
    pub(super) since: Option<i64>,
}

impl Tally {
    /// Whether the path is broken by its own account: half of three or more attempts failed.
    pub(super) fn is_broken(&self) -> bool {
        self.violated >= 3 && self.violated >= self.met
    }
}

/// All windows, as they come.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) paths: Vec<Path>,
    numbers: HashMap<Path, u32>,
    windows: Vec<Window>,
    reasons: Vec<(Reason, u64)>,
    pub(super) heard: Heard,
    /// End of the last window.
    pub(super) last: Option<OffsetDateTime>,
    pub(super) conclusive: u64,
}

impl Seen {
    pub(super) fn add(&mut self, observation: &Observation, names: &mut Names) {
        let path = Path::new(observation, names);
        self.heard.add(&path, observation);
        self.last = self.last.max(Some(observation.window_end()));
        let verdicts = observation.verdicts;
        if verdicts.conclusive() == 0 {
            return;
        }
        self.conclusive = self.conclusive.saturating_add(verdicts.conclusive());
        let next = self.paths.len() as u32;
        let number = *self.numbers.entry(path).or_insert(next);
        if number == next {
            self.paths.push(path);
        }
        let first = self.reasons.len();
        if verdicts.violated > 0 {
            self.reasons.extend(violations(observation));
        }
        self.windows.push(Window {
            path: number,
            start: observation.window_start.unix_timestamp(),
            met: verdicts.met,
            violated: verdicts.violated,
            reasons: first as u32,
            kinds: (self.reasons.len() - first) as u8,
        });
    }

    /// What counts of every path, by its number.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.paths.len()];
        for window in &self.windows {
            let tally = &mut tallies[window.path as usize];
            tally.met = tally.met.saturating_add(window.met);
            tally.violated = tally.violated.saturating_add(window.violated);
        }
        let mut failing: Vec<&Window> = self.windows.iter().collect();
        failing.retain(|window| tallies[window.path as usize].violated > 0);
        failing.sort_by_key(|window| (window.path, window.start));
        for windows in failing.chunk_by(|a, b| a.path == b.path) {
            tallies[windows[0].path as usize] = self.tally(since_change(windows));
        }
        tallies
    }

    fn tally(&self, windows: &[&Window]) -> Tally {
        let mut tally = Tally::default();
        for window in windows {
            tally.met = tally.met.saturating_add(window.met);
            tally.violated = tally.violated.saturating_add(window.violated);
            if window.violated > 0 && tally.since.is_none() {
                tally.since = Some(window.start);
            }
            let first = window.reasons as usize;
            for (reason, count) in &self.reasons[first..first + window.kinds as usize] {
                match tally.reasons.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, sum)) => *sum = sum.saturating_add(*count),
                    None => tally.reasons.push((*reason, *count)),
                }
            }
        }
        tally
    }
}

/// The reasons of the violated attempts: inconclusive ones have reasons too, which are left out.
/// What has no reason is unclassified.
fn violations(observation: &Observation) -> Reasons {
    let mut left = observation.verdicts.violated;
    let mut found = Reasons::new();
    // Of a denial that was asked for only the reply is a violation for certain.
    let first = match observation.expect {
        Expected::Denied => observation.reasons.get_key_value(&Reason::UnexpectedReply),
        Expected::Reply => None,
    };
    let mut rest: Vec<(&Reason, &u64)> = observation
        .reasons
        .iter()
        .filter(|(reason, _)| reason.blame() == Blame::Network)
        .filter(|(reason, _)| first.is_none_or(|(first, _)| first != *reason))
        .collect();
    rest.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (reason, count) in first.into_iter().chain(rest) {
        let count = (*count).min(left);
        left -= count;
        if count > 0 {
            found.push((*reason, count));
        }
    }
    if left > 0 {
        found.push((Reason::Unclassified, left));
    }
    found
}

/// The windows since the path last changed.
fn since_change<'a>(windows: &'a [&'a Window]) -> &'a [&'a Window] {
    let sums = |windows: &[&Window]| {
        windows.iter().fold((0.0, 0.0), |(met, violated), window| {
            (met + window.met as f64, violated + window.violated as f64)
        })
    };
    let (all_met, all_violated) = sums(windows);
    let whole = best(all_met, all_violated);
    let (mut met, mut violated) = (0.0, 0.0);
    let mut split = (CHANGED, 0);
    for (place, window) in windows.iter().enumerate().take(windows.len().saturating_sub(1)) {
        met += window.met as f64;
        violated += window.violated as f64;
        let gain = best(met, violated) + best(all_met - met, all_violated - violated) - whole;
        if gain > split.0 {
            split = (gain, place + 1);
        }
    }
    match split.1 {
        0 => windows,
        place => since_change(&windows[place..]),
    }
}

/// The log-likelihood of so many under the rate that fits best.
pub(super) fn best(met: f64, violated: f64) -> f64 {
    let all = met + violated;
    let part = |count: f64| if count > 0.0 { count * (count / all).ln() } else { 0.0 };
    part(met) + part(violated)
}

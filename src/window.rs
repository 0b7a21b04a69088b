//! The last minute of every target in short windows: what `/v1/window` tells. A target that is asked
//! more seldom is told by its last attempts, and one without any as such: with no attempts.
//!
//! Enough for a reader to see what just happened; history lives in Prometheus. Pure bookkeeping:
//! time is an argument.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sketches_ddsketch::{Config as SketchConfig, DDSketch};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::attempt::Attempt;
use crate::expectation::{Expectation, Verdict};
use crate::failure::Reason;
use crate::target::{ProbeKind, TargetName, Vantage, Via};

/// Length of a window.
pub const LENGTH: Duration = Duration::from_secs(10);
/// Windows kept per target, the one under way included.
pub const KEPT: usize = 7;
/// Relative error of the latency quantiles.
const ACCURACY: f64 = 0.01;
/// Bins of a sketch at most: with 1 % error they span nine orders of magnitude.
const MAX_BINS: u32 = 1024;
/// Latencies below this are told as this, seconds.
const MIN_LATENCY: f64 = 1e-6;

/// The recent windows of every target.
#[derive(Debug)]
pub struct Window {
    node: String,
    vantage: Option<Vantage>,
    targets: Mutex<BTreeMap<TargetName, Ring>>,
}

#[derive(Debug)]
struct Ring {
    asked: Asked,
    /// Windows of which is told, the one under way included.
    span: u64,
    slices: VecDeque<Slice>,
}

/// What is the same in all windows of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Asked {
    probe: ProbeKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<Via>,
    expect: &'static str,
}

struct Slice {
    /// Windows since 1970.
    number: u64,
    verdicts: [u64; Verdict::ALL.len()],
    reasons: BTreeMap<&'static str, u64>,
    latency: Option<DDSketch>,
}

// DDSketch has no Debug of its own.
impl std::fmt::Debug for Slice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slice").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What one target showed in one window.
#[derive(Debug, Serialize)]
pub struct Observation {
    source_node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vantage: Option<Vantage>,
    target: TargetName,
    destination_node: Option<String>,
    #[serde(flatten)]
    asked: Asked,
    window_start: String,
    window_seconds: u64,
    attempts: u64,
    verdicts: BTreeMap<&'static str, u64>,
    reasons: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_seconds: Option<Latency>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

impl Window {
    /// An empty window of one agent.
    pub fn new(node: &str, vantage: Option<Vantage>) -> Self {
        Self { node: node.to_owned(), vantage, targets: Mutex::default() }
    }

    /// A target begins to be probed, with `interval` between two attempts; one that asks what it
    /// asked before keeps its windows.
    pub fn joined(
        &self,
        target: &TargetName,
        probe: ProbeKind,
        via: Option<Via>,
        expect: &Expectation,
        interval: Duration,
    ) {
        let asked = Asked { probe, via, expect: stated(expect) };
        let mut targets = self.targets.lock().expect("no panic while held");
        let ring = targets.get_mut(target).filter(|ring| ring.asked == asked);
        match ring {
            Some(ring) => ring.span = span(interval),
            None => {
                let ring = Ring { asked, span: span(interval), slices: VecDeque::new() };
                targets.insert(target.clone(), ring);
            }
        }
    }

    /// Takes in an attempt of a target that joined, by the time at which it started.
    pub fn attempt(&self, attempt: &Attempt) {
        let mut targets = self.targets.lock().expect("no panic while held");
        let Some(ring) = targets.get_mut(&attempt.target) else { return };
        let Some(slice) = ring.slice(number(attempt.started_at)) else { return };
        slice.verdicts[attempt.verdict as usize] += 1;
        if let Some(failure) = &attempt.failure {
            let reason: Reason = failure.reason;
            *slice.reasons.entry(reason.as_str()).or_default() += 1;
        } else {
            let sketch = slice.latency.get_or_insert_with(|| {
                DDSketch::new(SketchConfig::new(ACCURACY, MAX_BINS, MIN_LATENCY))
            });
            sketch.add(attempt.duration.as_secs_f64());
        }
    }

    /// Forgets targets that are probed no more.
    pub fn left(&self, left: &HashSet<TargetName>) {
        self.targets.lock().expect("no panic while held").retain(|name, _| !left.contains(name));
    }

    /// Every window of the last minute, by target and time; of a target without one that which is
    /// under way, with no attempts.
    pub fn observations(&self, now: SystemTime) -> Vec<Observation> {
        let now = number(now);
        let targets = self.targets.lock().expect("no panic while held");
        let mut all = Vec::with_capacity(targets.len() * KEPT);
        for (name, ring) in targets.iter() {
            let told = all.len();
            let oldest = now.saturating_sub(ring.span - 1);
            let recent = ring.slices.iter().filter(|slice| slice.number >= oldest);
            all.extend(recent.map(|slice| self.observation(name, ring, slice)));
            if all.len() == told {
                all.push(self.observation(name, ring, &Slice::empty(now)));
            }
        }
        all
    }

    fn observation(&self, name: &TargetName, ring: &Ring, slice: &Slice) -> Observation {
        let quantile = |q| slice.latency.as_ref()?.quantile(q).ok().flatten();
        Observation {
            source_node: self.node.clone(),
            vantage: self.vantage,
            target: name.clone(),
            destination_node: None,
            asked: ring.asked.clone(),
            window_start: rfc3339(
                UNIX_EPOCH + Duration::from_secs(slice.number * LENGTH.as_secs()),
            ),
            window_seconds: LENGTH.as_secs(),
            attempts: slice.verdicts.iter().sum(),
            verdicts: Verdict::ALL
                .into_iter()
                .map(|verdict| (verdict.as_str(), slice.verdicts[verdict as usize]))
                .collect(),
            reasons: slice.reasons.clone(),
            latency_seconds: quantile(0.5)
                .zip(quantile(0.99))
                .map(|(p50, p99)| Latency { p50, p99 }),
        }
    }
}

impl Slice {
    fn empty(number: u64) -> Self {
        let verdicts = [0; Verdict::ALL.len()];
        Self { number, verdicts, reasons: BTreeMap::new(), latency: None }
    }
}

/// The windows of a minute, or until the next attempt but one has surely ended: an attempt counts
/// where it began, and may take as long as its interval.
fn span(interval: Duration) -> u64 {
    let two = interval.as_secs().saturating_mul(2).div_ceil(LENGTH.as_secs());
    two.saturating_add(2).max(KEPT as u64)
}

impl Ring {
    /// The slice of window `number`; `None` when it is older than what is kept.
    fn slice(&mut self, number: u64) -> Option<&mut Slice> {
        let at = self.slices.partition_point(|slice| slice.number < number);
        let found = self.slices.get(at).is_some_and(|slice| slice.number == number);
        if !found {
            if at == 0 && self.slices.len() == KEPT {
                return None;
            }
            self.slices.insert(at, Slice::empty(number));
            if self.slices.len() > KEPT {
                self.slices.pop_front();
                return self.slices.get_mut(at - 1);
            }
        }
        self.slices.get_mut(at)
    }
}

/// Whether an answer or a denial is expected: all that a reader of windows needs to know.
fn stated(expect: &Expectation) -> &'static str {
    match expect {
        Expectation::Denied => "denied",
        Expectation::Reply | Expectation::Status(_) | Expectation::Connect => "reply",
    }
}

fn number(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / LENGTH.as_secs()
}

fn rfc3339(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).expect("window times are within RFC 3339")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(interval: u64, later: u64, attempted: bool) -> Vec<(u64, u64)> {
        let window = Window::new("node-1", None);
        let target: TargetName = "held/node-2".parse().expect("a name");
        let expect = Expectation::Reply;
        let interval = Duration::from_secs(interval);
        window.joined(&target, ProbeKind::Hold, None, &expect, interval);
        let began = UNIX_EPOCH + Duration::from_secs(1000);
        if attempted {
            let mut targets = window.targets.lock().expect("no panic while held");
            let ring = targets.get_mut(&target).expect("it joined");
            ring.slice(number(began)).expect("the first").verdicts[0] += 1;
        }
        let all = window.observations(began + Duration::from_secs(later));
        let seconds = |told: &Observation| {
            let start = OffsetDateTime::parse(&told.window_start, &Rfc3339).expect("RFC 3339");
            start.unix_timestamp() as u64
        };
        all.iter().map(|told| (seconds(told), told.attempts)).collect()
    }

    #[test]
    fn a_target_that_was_never_attempted_is_told_without_attempts() {
        assert_eq!(told(5, 0, false), [(1000, 0)]);
        assert_eq!(told(5, 20, false), [(1020, 0)]);
    }

    #[test]
    fn what_is_asked_often_is_told_for_a_minute() {
        assert_eq!(told(5, 60, true), [(1000, 1)]);
        assert_eq!(told(5, 70, true), [(1070, 0)]);
    }

    #[test]
    fn what_is_asked_seldom_is_told_until_it_was_asked_again() {
        assert_eq!(told(60, 130, true), [(1000, 1)]);
        assert_eq!(told(60, 140, true), [(1140, 0)]);
    }
}

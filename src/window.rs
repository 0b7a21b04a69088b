//! The last minute of every target in short windows: what `/v1/window` tells. A target that is asked
//! more seldom is told by its last attempts, and one without any as such: with no attempts.
//!
//! Enough for a reader to see what just happened; history lives in Prometheus. Pure bookkeeping:
//! time is an argument.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use crate::attempt::Attempt;
use crate::digest::Digest;
use crate::failure::Reason;
use crate::observation::{Expected, Latency, Observation, Verdicts};
use crate::spec::TargetSpec;
use crate::target::{ProbeKind, TargetName, Vantage, Via};

/// Length of a window.
pub const LENGTH: Duration = Duration::from_secs(10);
/// Windows kept per target, the one under way included.
pub const KEPT: usize = 7;

/// Header of an answer with windows: the agent's time when it was made, RFC 3339. What came later
/// is what `since` that time gives.
pub const AS_OF_HEADER: &str = "meshprobe-as-of";
/// By how much more than was asked for is told, so that nothing falls between two answers:
/// attempts are taken in a moment after their time is.
const SLACK: Duration = Duration::from_secs(1);

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
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    probe: ProbeKind,
    subject: String,
    destination_node: Option<String>,
    via: Option<Via>,
    expect: Expected,
}

#[derive(Debug, Default)]
struct Slice {
    /// Windows since 1970.
    number: u64,
    /// When it last took something in.
    changed: Option<SystemTime>,
    verdicts: Verdicts,
    reasons: BTreeMap<Reason, u64>,
    latency: Digest,
}

impl Window {
    /// An empty window of one agent.
    pub fn new(node: &str, vantage: Option<Vantage>) -> Self {
        Self { node: node.to_owned(), vantage, targets: Mutex::default() }
    }

    /// A target begins to be probed; one that asks what it asked before keeps its windows.
    pub fn joined(&self, target: &TargetSpec) {
        let (asked, span) = (Asked::of(target), span(target.cadence.interval()));
        let mut targets = self.targets.lock().expect("no panic while held");
        match targets.get_mut(&target.name).filter(|ring| ring.asked == asked) {
            Some(ring) => ring.span = span,
            None => {
                let ring = Ring { asked, span, slices: VecDeque::new() };
                targets.insert(target.name.clone(), ring);
            }
        }
    }

    /// Takes in at `now` an attempt of a target that joined, by the time at which it started.
    pub fn attempt(&self, attempt: &Attempt, now: SystemTime) {
        let mut targets = self.targets.lock().expect("no panic while held");
        let Some(ring) = targets.get_mut(&attempt.target) else { return };
        let Some(slice) = ring.slice(number(attempt.started_at)) else { return };
        slice.changed = Some(now);
        slice.verdicts.add(attempt.verdict);
        if let Some(failure) = &attempt.failure {
            *slice.reasons.entry(failure.reason).or_default() += 1;
        } else {
            slice.latency.add(attempt.duration);
        }
    }

    /// Forgets targets that are probed no more.
    pub fn left(&self, left: &HashSet<TargetName>) {
        self.targets.lock().expect("no panic while held").retain(|name, _| !left.contains(name));
    }

    /// Every window of the last minute, by target and time; of a target without one that which is
    /// under way, with no attempts. With `since` only windows that took something in since then,
    /// unless that is yet to come: clocks are set back at times.
    pub fn observations(&self, now: SystemTime, since: Option<SystemTime>) -> Vec<Observation> {
        let since = since.filter(|since| *since <= now).and_then(|it| it.checked_sub(SLACK));
        let now = number(now);
        let targets = self.targets.lock().expect("no panic while held");
        let mut all = Vec::with_capacity(targets.len() * KEPT);
        for (name, ring) in targets.iter() {
            let oldest = now.saturating_sub(ring.span - 1);
            let recent = ring.slices.iter().filter(|slice| slice.number >= oldest);
            let mut idle = true;
            let recent = recent.inspect(|_| idle = false);
            let recent = recent.filter(|slice| since.is_none() || slice.changed >= since);
            all.extend(recent.map(|slice| self.observation(name, ring, slice)));
            if idle {
                let empty = Slice { number: now, ..Slice::default() };
                all.push(self.observation(name, ring, &empty));
            }
        }
        all
    }

    fn observation(&self, name: &TargetName, ring: &Ring, slice: &Slice) -> Observation {
        let quantile = |share| slice.latency.quantile(share);
        let Asked { probe, subject, destination_node, via, expect } = ring.asked.clone();
        Observation {
            source_node: self.node.clone(),
            vantage: self.vantage,
            probe,
            target: subject,
            name: Some(name.as_str().to_owned()),
            destination_node,
            via,
            expect,
            window_start: start(slice.number),
            window_seconds: LENGTH.as_secs(),
            attempts: slice.verdicts.total(),
            verdicts: slice.verdicts,
            reasons: slice.reasons.clone(),
            latency_seconds: quantile(0.5)
                .zip(quantile(0.99))
                .map(|(p50, p99)| Latency { p50, p99 }),
            digest: (slice.latency.count() > 0).then(|| slice.latency.clone()),
        }
    }
}

impl Asked {
    fn of(target: &TargetSpec) -> Self {
        let subject = target.subject.as_ref().map_or(target.name.as_str(), |it| it.as_str());
        Self {
            probe: target.probe.kind(),
            subject: subject.to_owned(),
            destination_node: target.destination_node.clone(),
            via: target.via,
            expect: Expected::of(&target.probe.expect),
        }
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
            self.slices.insert(at, Slice { number, ..Slice::default() });
            if self.slices.len() > KEPT {
                self.slices.pop_front();
                return self.slices.get_mut(at - 1);
            }
        }
        self.slices.get_mut(at)
    }
}

fn number(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / LENGTH.as_secs()
}

fn start(number: u64) -> OffsetDateTime {
    (UNIX_EPOCH + Duration::from_secs(number * LENGTH.as_secs())).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Subject;
    use crate::outcome::{Facts, Outcome, Phases};

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn target(keys: &str) -> TargetSpec {
        let text = format!("targets: [{{name: peer/a, address: 'a:1', tcp: {{}}, {keys}}}]");
        let config = crate::config::parse(&text, &BTreeMap::new());
        config.expect("good").targets.remove(0)
    }

    /// An attempt that began at `began` and was done at `ended`.
    fn attempt(window: &Window, target: &TargetSpec, began: u64, ended: u64) {
        let subject = Subject {
            probe: ProbeKind::Tcp,
            target: &target.name,
            vantage: None,
            via: None,
            expect: &target.probe.expect,
        };
        let outcome = Outcome {
            started_at: at(began),
            duration: Duration::from_millis(20),
            phases: Phases::default(),
            failure: None,
            reply_bytes: 1,
            facts: Facts::default(),
        };
        let attempt = Attempt::judged(subject, outcome, None, Duration::ZERO);
        window.attempt(&attempt, at(ended));
    }

    fn starts(told: &[Observation]) -> Vec<(i64, u64)> {
        told.iter().map(|it| (it.window_start.unix_timestamp(), it.attempts)).collect()
    }

    #[test]
    fn a_window_tells_whom_it_is_of_and_how_long_attempts_took() {
        let (window, target) = (Window::new("n", None), target("subject: peer"));
        window.joined(&target);
        attempt(&window, &target, 105, 106);
        let told = window.observations(at(110), None);
        assert_eq!((told[0].target.as_str(), told[0].name()), ("peer", "peer/a"));
        assert_eq!(told[0].digest.as_ref().map(Digest::count), Some(1));
        let p99 = told[0].latency_seconds.expect("one succeeded").p99;
        assert!((p99 - 0.02).abs() <= 0.0002, "{p99}");
    }

    #[test]
    fn since_the_last_telling_only_what_grew_is_told() {
        let (window, target) = (Window::new("n", None), target(""));
        window.joined(&target);
        attempt(&window, &target, 101, 101);
        attempt(&window, &target, 112, 112);
        let told = |now, since| starts(&window.observations(at(now), since));
        assert_eq!(told(120, None), [(100, 1), (110, 1)]);
        assert_eq!(told(120, Some(at(120))), []);
        // It began long ago, and ends now.
        attempt(&window, &target, 105, 125);
        assert_eq!(told(126, Some(at(120))), [(100, 2)]);
        // One that was taken in while the last answer was made is told again, rather than never.
        assert_eq!(told(130, Some(at(126))), [(100, 2)]);
        assert_eq!(told(130, Some(at(127))), []);
    }

    #[test]
    fn a_clock_that_was_set_back_hides_nothing() {
        let (window, target) = (Window::new("n", None), target(""));
        window.joined(&target);
        attempt(&window, &target, 101, 101);
        assert_eq!(starts(&window.observations(at(103), Some(at(500)))), [(100, 1)]);
    }

    #[test]
    fn a_target_that_asks_something_else_begins_anew() {
        let (window, other) = (Window::new("n", None), target("destination_node: node-2"));
        window.joined(&target(""));
        attempt(&window, &target(""), 101, 101);
        window.joined(&target(""));
        assert_eq!(window.observations(at(103), None).len(), 1);
        window.joined(&other);
        assert_eq!(starts(&window.observations(at(103), None)), [(100, 0)]);
    }

    fn seldom(interval: &str, later: u64, attempted: bool) -> Vec<(i64, u64)> {
        let (window, target) = (Window::new("n", None), target(&format!("interval: {interval}")));
        window.joined(&target);
        if attempted {
            attempt(&window, &target, 1000, 1000);
        }
        let all = starts(&window.observations(at(1000 + later), None));
        // What has no attempts is told again and again.
        let idle = all.iter().all(|(_, attempts)| *attempts == 0);
        let since = Some(at(1000 + later));
        let grown = starts(&window.observations(at(1000 + later), since));
        assert!(later < 2 || grown == if idle { all.clone() } else { Vec::new() }, "{grown:?}");
        all
    }

    #[test]
    fn a_target_that_was_never_attempted_is_told_without_attempts() {
        assert_eq!(seldom("5s", 0, false), [(1000, 0)]);
        assert_eq!(seldom("5s", 20, false), [(1020, 0)]);
    }

    #[test]
    fn what_is_asked_often_is_told_for_a_minute() {
        assert_eq!(seldom("5s", 60, true), [(1000, 1)]);
        assert_eq!(seldom("5s", 70, true), [(1070, 0)]);
    }

    #[test]
    fn what_is_asked_seldom_is_told_until_it_was_asked_again() {
        assert_eq!(seldom("60s", 130, true), [(1000, 1)]);
        assert_eq!(seldom("60s", 140, true), [(1140, 0)]);
    }
}

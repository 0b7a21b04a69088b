//! Which paths are broken, and since when: sequential tests per path that open an alarm as soon as
//! the evidence allows, and close it with hysteresis.
//!
//! Reads [`Observation`]s as they are told, each window several times while it grows, and keeps of
//! each path only what its tests need. Inconclusive attempts count neither way. Time is an
//! argument. Knows no components: whom to blame is for `diagnosis`.
//!
//! Four CUSUM tests run on each path: two on failures ([`Design::HARD`], [`Design::LOSS`]), which
//! share one alarm, and two on slow replies ([`Design::SHIFT`], [`Design::TAIL`]), which share
//! another. Of 100,000 paths that fail one attempt in 10,000 and are asked every 5 s, 0.12 are
//! taken for broken in a week (0.012 by three failures in a row, 0.11 by loss); a path that fails
//! always is seen after 3 attempts, one that loses 5 % after 74 in the median and 176 in 95 of 100
//! cases. `docs/detection.md` has the rest, [`rates`] computes it and `bench/detect` measures it.

mod alarm;
mod cusum;
mod latency;
mod path;
pub mod rates;
mod store;
mod taken;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::failure::Reason;
use crate::observation::{Expected, Observation, Verdicts};
use crate::target::{ProbeKind, Vantage, Via};
pub use alarm::{Alarm, Symptom};
pub use cusum::Design;
use path::{Open, State};
use store::Paths;

/// A path that was told nothing of for so long is forgotten, its alarm with it.
pub const FORGOTTEN: Duration = Duration::from_secs(180);

/// What an agent asks of whom: the part of a path that many agents share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The target's name within the agent's plan.
    pub name: Arc<str>,
    /// What it is an observation of.
    pub target: Arc<str>,
    /// Node of the far end.
    pub destination_node: Option<Arc<str>>,
    /// What is asked.
    pub probe: ProbeKind,
    /// Through what.
    pub via: Option<Via>,
    /// What must come back.
    pub expect: Expected,
}

/// What happened to an alarm of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The path is broken.
    Opened,
    /// It is whole again.
    Closed,
}

/// What happened to the alarms of a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// To the one that tells that it fails.
    pub failing: Option<Change>,
    /// To the one that tells that it is slow.
    pub slow: Option<Change>,
}

/// The tests of all paths.
#[derive(Debug, Default)]
pub struct Detector {
    /// By node; an agent of each vantage there.
    sources: BTreeMap<Arc<str>, Vec<(Option<Vantage>, Paths)>>,
    known: HashSet<Arc<Asked>>,
}

/// One agent.
type Source<'a> = (&'a Arc<str>, Option<Vantage>);

impl Detector {
    /// Takes in what is new in `observation`, told at `now`. One with a window of 0 seconds is of
    /// one attempt and always new.
    pub fn take(&mut self, observation: &Observation, now: OffsetDateTime) -> Changes {
        let name = observation.name.as_deref().unwrap_or(&observation.target);
        let node = observation.source_node.as_str();
        if !self.sources.contains_key(node) {
            self.sources.insert(node.into(), Vec::new());
        }
        let agents = self.sources.get_mut(node).expect("it was put there");
        let vantage = observation.vantage;
        let place = agents.iter().position(|(known, _)| *known == vantage).unwrap_or_else(|| {
            agents.push((vantage, Paths::default()));
            agents.len() - 1
        });
        let paths = &mut agents[place].1;
        let now = milliseconds(now);
        if let Some(state) = paths.find(name).filter(|state| is_of(observation, &state.asked)) {
            return state.take(observation, now);
        }
        // Another question by the same name begins anew.
        let mut state = State::new(shared(&mut self.known, observation, name));
        let changes = state.take(observation, now);
        paths.put(state);
        changes
    }

    /// Forgets paths that nothing was told of for [`FORGOTTEN`].
    pub fn retain(&mut self, now: OffsetDateTime) {
        let oldest = milliseconds(now).saturating_sub(FORGOTTEN.as_millis() as u64);
        self.sources.retain(|_, agents| {
            agents.iter_mut().for_each(|(_, paths)| paths.retain(|state| state.told >= oldest));
            agents.retain(|(_, paths)| paths.len() > 0);
            !agents.is_empty()
        });
        self.known.retain(|asked| Arc::strong_count(asked) > 1);
    }

    /// Every alarm that is open.
    pub fn alarms(&self) -> impl Iterator<Item = Alarm> {
        self.states().flat_map(|((node, vantage), state)| {
            let alarm = move |open: &Open, symptom| Alarm {
                source_node: Arc::clone(node),
                vantage,
                asked: Arc::clone(&state.asked),
                symptom,
                since: instant(open.since),
                attempts: open.attempts,
                events: open.events,
            };
            let usual = state.usual_failures();
            let failing = state.failing.as_deref().map(|it| alarm(it, Symptom::Failing { usual }));
            let usual_seconds = state.usual_seconds().unwrap_or_default();
            let slow = state.slow.as_deref().map(|it| alarm(it, Symptom::Slow { usual_seconds }));
            failing.into_iter().chain(slow)
        })
    }

    /// What each path shows now, one observation each: since its alarm opened or its failures
    /// began, else since `since`. Paths that nothing was told of since then are left out. Without
    /// `suspects`, failures of paths without an alarm are too.
    pub fn present(
        &self,
        since: OffsetDateTime,
        now: OffsetDateTime,
        suspects: bool,
    ) -> Vec<Observation> {
        let since = milliseconds(since);
        let shown = self.states().filter_map(|((node, vantage), state)| {
            let (mut verdicts, began) = state.present(since);
            if !suspects && state.failing.is_none() {
                verdicts.violated = 0;
            }
            (verdicts != Verdicts::default())
                .then(|| observation((node, vantage), state, verdicts, (instant(began), now)))
        });
        shown.collect()
    }

    /// How many paths it watches.
    pub fn paths(&self) -> usize {
        self.sources.values().flatten().map(|(_, paths)| paths.len()).sum()
    }

    fn states(&self) -> impl Iterator<Item = (Source<'_>, &State)> {
        self.sources.iter().flat_map(|(node, agents)| {
            agents.iter().flat_map(move |(vantage, paths)| {
                paths.all().map(move |state| ((node, *vantage), state))
            })
        })
    }
}

fn is_of(observation: &Observation, asked: &Asked) -> bool {
    *asked.target == *observation.target
        && asked.destination_node.as_deref() == observation.destination_node.as_deref()
        && asked.probe == observation.probe
        && asked.via == observation.via
        && asked.expect == observation.expect
}

fn shared(known: &mut HashSet<Arc<Asked>>, observation: &Observation, name: &str) -> Arc<Asked> {
    let asked = Asked {
        name: name.into(),
        target: observation.target.as_str().into(),
        destination_node: observation.destination_node.as_deref().map(Into::into),
        probe: observation.probe,
        via: observation.via,
        expect: observation.expect,
    };
    if let Some(known) = known.get(&asked) {
        return Arc::clone(known);
    }
    let asked = Arc::new(asked);
    known.insert(Arc::clone(&asked));
    asked
}

fn observation(
    (node, vantage): Source<'_>,
    state: &State,
    verdicts: Verdicts,
    (began, now): (OffsetDateTime, OffsetDateTime),
) -> Observation {
    let asked = &state.asked;
    let failed = verdicts.violated.saturating_add(verdicts.inconclusive);
    Observation {
        source_node: node.to_string(),
        vantage,
        probe: asked.probe,
        target: asked.target.to_string(),
        name: Some(asked.name.to_string()),
        destination_node: asked.destination_node.as_ref().map(ToString::to_string),
        via: asked.via,
        expect: asked.expect,
        window_start: began,
        window_seconds: (now - began).whole_seconds().max(0) as u64,
        attempts: verdicts.total(),
        verdicts,
        reasons: shared_out(&state.reasons(), failed),
        latency_seconds: None,
        digest: None,
    }
}

/// `reasons`, of which only the newest are remembered, in their proportions as the reasons of so
/// many failures.
fn shared_out(reasons: &BTreeMap<Reason, u64>, failures: u64) -> BTreeMap<Reason, u64> {
    let told: u64 = reasons.values().sum();
    let mut left = failures;
    let mut shares = BTreeMap::new();
    for (reason, count) in reasons {
        let share = (*count as f64 / told.max(1) as f64 * failures as f64).round() as u64;
        let share = share.max(1).min(left);
        if share > 0 {
            shares.insert(*reason, share);
        }
        left -= share;
    }
    if let Some((_, most)) = shares.iter_mut().max_by_key(|(_, count)| **count) {
        *most += left;
    }
    shares
}

fn milliseconds(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

fn instant(milliseconds: u64) -> OffsetDateTime {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

//! Which paths are broken, and since when: a sequential test per path that opens an alarm as soon
//! as the evidence allows, and closes it with hysteresis.
//!
//! Reads [`Observation`]s as they are told, each window several times while it grows, and keeps of
//! each path only what its tests need. Inconclusive attempts count neither way. Time is an
//! argument. Knows no components: whom to blame is for `diagnosis`.

mod cusum;
mod path;
mod taken;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::observation::{Expected, Observation, Verdicts};
use crate::target::{ProbeKind, Vantage, Via};
use path::State;

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

/// What happened to the alarm of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The path is broken.
    Opened,
    /// It is whole again.
    Closed,
}

/// An alarm that is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// Node of the agent that asks.
    pub source_node: Arc<str>,
    /// Its side of the mesh.
    pub vantage: Option<Vantage>,
    /// What it asks.
    pub asked: Arc<Asked>,
    /// When the first failure began.
    pub since: OffsetDateTime,
    /// Conclusive attempts since then.
    pub attempts: u32,
    /// Failures among them.
    pub failures: u32,
}

type Source = (Arc<str>, Option<Vantage>);

/// The tests of all paths.
#[derive(Debug, Default)]
pub struct Detector {
    sources: BTreeMap<Source, BTreeMap<Arc<str>, State>>,
    known: HashSet<Arc<Asked>>,
}

impl Detector {
    /// Takes in what is new in `observation`, told at `now`. One with a window of 0 seconds is of
    /// one attempt and always new.
    pub fn take(&mut self, observation: &Observation, now: OffsetDateTime) -> Option<Change> {
        let name = observation.name.as_deref().unwrap_or(&observation.target);
        let source = (Arc::from(observation.source_node.as_str()), observation.vantage);
        let paths = self.sources.entry(source).or_default();
        let now = milliseconds(now);
        match paths.get_mut(name) {
            Some(state) if is_of(observation, &state.asked) => state.take(observation, now),
            // Another question by the same name begins anew.
            Some(_) | None => {
                let asked = shared(&mut self.known, observation, name);
                let mut state = State::new(Arc::clone(&asked));
                let change = state.take(observation, now);
                paths.insert(Arc::clone(&asked.name), state);
                change
            }
        }
    }

    /// Forgets paths that nothing was told of for [`FORGOTTEN`].
    pub fn retain(&mut self, now: OffsetDateTime) {
        let oldest = milliseconds(now).saturating_sub(FORGOTTEN.as_millis() as u64);
        self.sources.retain(|_, paths| {
            paths.retain(|_, state| state.told >= oldest);
            !paths.is_empty()
        });
        self.known.retain(|asked| Arc::strong_count(asked) > 1);
    }

    /// Every alarm that is open.
    pub fn alarms(&self) -> impl Iterator<Item = Alarm> {
        self.states().filter_map(|((node, vantage), state)| {
            let open = state.open?;
            Some(Alarm {
                source_node: Arc::clone(node),
                vantage: *vantage,
                asked: Arc::clone(&state.asked),
                since: instant(open.since),
                attempts: open.attempts,
                failures: open.failures,
            })
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
            if !suspects && state.open.is_none() {
                verdicts.violated = 0;
            }
            (verdicts != Verdicts::default())
                .then(|| observation((node, *vantage), state, verdicts, (instant(began), now)))
        });
        shown.collect()
    }

    /// How many paths it watches.
    pub fn paths(&self) -> usize {
        self.sources.values().map(BTreeMap::len).sum()
    }

    fn states(&self) -> impl Iterator<Item = (&Source, &State)> {
        self.sources.iter().flat_map(|(source, paths)| paths.values().map(move |it| (source, it)))
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
    (node, vantage): (&Arc<str>, Option<Vantage>),
    state: &State,
    verdicts: Verdicts,
    (began, now): (OffsetDateTime, OffsetDateTime),
) -> Observation {
    let asked = &state.asked;
    let failed = verdicts.violated > 0 || verdicts.inconclusive > 0;
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
        reasons: if failed { state.reasons().clone() } else { BTreeMap::new() },
        latency_seconds: None,
        digest: None,
    }
}

fn milliseconds(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

fn instant(milliseconds: u64) -> OffsetDateTime {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;

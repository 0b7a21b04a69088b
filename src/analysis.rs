//! From what agents tell to what is wrong now: detection, diagnosis and incidents in a row.
//!
//! Whoever hears agents (a controller, a lab) gives what they tell to [`Analyst::hear`] and asks
//! [`Analyst::conclude`] now and then. Time is an argument; nothing is announced here.

mod slow;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::detection::{Alarm, Detector, FORGOTTEN, Symptom};
use crate::diagnosis::{Agent, Diagnosis, FaultWord, Report, Topology, diagnose};
use crate::incident::{Change, Incident, Incidents, Suspicion};
use crate::observation::Observation;
use crate::target::Vantage;

pub use slow::{Slow, SlowPath};

/// How soon it is known what agents saw.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// What is healthy speaks for so long.
    pub look_back: Duration,
    /// An agent of which nothing was told for so long is silent.
    pub silent: Duration,
    /// Time between two conclusions, at least.
    pub every: Duration,
}

impl Pace {
    /// Agents are asked every few seconds.
    pub const ASKED: Self = Self {
        look_back: Duration::from_secs(60),
        silent: Duration::from_secs(45),
        every: Duration::from_secs(2),
    };
    /// Whole minutes are told, each up to two minutes after its beginning.
    pub const BY_MINUTES: Self = Self {
        look_back: FORGOTTEN,
        silent: Duration::from_secs(210),
        // Often enough that what is said every time is no end of an incident.
        every: Duration::from_secs(15),
    };
}

/// What is wrong, and what was.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Diagnoses {
    /// What is broken now.
    #[serde(flatten)]
    pub report: Report,
    /// What is slow now.
    #[serde(default)]
    pub slow: Slow,
    /// Incidents that are open, the oldest first.
    #[serde(default)]
    pub open: Vec<Incident>,
    /// The last incidents that are over, the newest first.
    #[serde(default)]
    pub closed: Vec<Incident>,
}

/// Faults whose first signs are further apart than this are looked at as of different times.
const TOGETHER: Duration = Duration::from_secs(30);
/// What is less sure is not said: something else explains as much.
const LEAST_SURE: f64 = 0.3;
/// A node of which nothing was told for so long is forgotten.
const REMEMBERED: Duration = Duration::from_secs(600);
/// From here on no other explanation is as good.
const SURE: f64 = 0.6;
/// How many conclusions in a row must agree on what is sure before it is said. While signs still
/// come in, what they mean may change from one moment to the next.
const STOOD_SURE: u32 = 2;
/// How many on what is not: what would tell it from its twin may still be under way.
const STOOD_UNSURE: u32 = 4;

/// What is known of a mesh, from what its agents told.
#[derive(Debug)]
pub struct Analyst {
    detector: Detector,
    incidents: Incidents,
    /// When each agent told something last, by node.
    heard: BTreeMap<String, BTreeMap<Vantage, OffsetDateTime>>,
    began: OffsetDateTime,
    pace: Pace,
    /// How many conclusions in a row would have named a component, up to the last.
    stood: BTreeMap<String, u32>,
}

/// What there is to see at one moment.
#[derive(Debug)]
pub struct Sight {
    /// What each path shows, for diagnosis.
    pub present: Vec<Observation>,
    /// Paths that are broken.
    alarms: usize,
}

/// What is wrong at one moment.
#[derive(Debug, Clone)]
pub struct Conclusion {
    /// What is broken, ranked.
    pub report: Report,
    /// What began and ended since the last conclusion.
    pub changes: Vec<Change>,
}

impl Analyst {
    /// One that has heard nothing yet, at `now`.
    pub fn new(now: OffsetDateTime, pace: Pace) -> Self {
        Self {
            detector: Detector::default(),
            incidents: Incidents::default(),
            heard: BTreeMap::new(),
            began: now,
            pace,
            stood: BTreeMap::new(),
        }
    }

    /// Takes in what agents told at `now`. Windows that are told again count once; a window of 0
    /// seconds is one attempt.
    pub fn hear<'a>(
        &mut self,
        observations: impl IntoIterator<Item = &'a Observation>,
        now: OffsetDateTime,
    ) {
        for observation in observations {
            if let Some(vantage) = observation.vantage {
                self.note(&observation.source_node, vantage, now);
            }
            self.detector.take(observation, now);
        }
    }

    fn note(&mut self, node: &str, vantage: Vantage, now: OffsetDateTime) {
        match self.heard.get_mut(node) {
            Some(sides) => {
                sides.insert(vantage, now);
            }
            None => {
                self.heard.insert(node.to_owned(), BTreeMap::from([(vantage, now)]));
            }
        }
    }

    /// What is wrong at `now` in the cluster of `topology`; its `agents` are those that are to be
    /// heard.
    pub fn conclude(&mut self, topology: &Topology, now: OffsetDateTime) -> Conclusion {
        let sight = self.look(now);
        let report = diagnose(topology, &sight.present, now);
        self.settle(&sight, topology, report, now)
    }

    /// The first part of [`Self::conclude`]: what is to be diagnosed, which takes long in a large
    /// cluster and needs nothing of this.
    pub fn look(&mut self, now: OffsetDateTime) -> Sight {
        self.detector.retain(now);
        let remembered = |at: &OffsetDateTime| now - *at < REMEMBERED;
        self.heard.retain(|_, sides| sides.values().any(remembered));
        let alarms: Vec<Alarm> = self
            .detector
            .alarms()
            .filter(|alarm| matches!(alarm.symptom, Symptom::Failing { .. }))
            .collect();
        let since = present_since(&alarms, now - self.pace.look_back);
        let present = self.detector.present(since, now, !alarms.is_empty());
        Sight { present, alarms: alarms.len() }
    }

    /// The last part: what of the `report` on `sight` is said, and which incidents come of it.
    pub fn settle(
        &mut self,
        sight: &Sight,
        topology: &Topology,
        mut report: Report,
        now: OffsetDateTime,
    ) -> Conclusion {
        let before = std::mem::take(&mut self.stood);
        let stood = |name: &String| (name.clone(), before.get(name).map_or(1, |times| times + 1));
        self.stood = report.diagnoses.iter().map(|it| stood(&it.component)).collect();
        // Who was not asked since then is not silent; who was not heard is.
        let mut withheld = 0;
        report.diagnoses.retain(|diagnosis| {
            let heard =
                diagnosis.fault == FaultWord::Silent && !self.is_silent(&diagnosis.component, now);
            let needed = if diagnosis.confidence >= SURE { STOOD_SURE } else { STOOD_UNSURE };
            let stands =
                self.stood[&diagnosis.component] >= needed && diagnosis.confidence >= LEAST_SURE;
            withheld += usize::from(!heard && !stands);
            !heard && stands
        });
        report.withheld = withheld;
        report.agents = self.agents(topology, now);
        report.broken_paths = sight.alarms;
        if sight.present.is_empty() {
            // Nobody tells anything, so nothing is known to be over.
            self.incidents.blind(now);
            return Conclusion { report, changes: Vec::new() };
        }
        let suspicions: Vec<Suspicion> =
            report.diagnoses.iter().map(|diagnosis| suspicion(diagnosis, now)).collect();
        let changes = self.incidents.update(&suspicions, now);
        Conclusion { report, changes }
    }

    /// How many agents were heard lately, of those of `topology` if it names any: also those whose
    /// paths were not asked.
    fn agents(&self, topology: &Topology, now: OffsetDateTime) -> usize {
        let lately = |at: &OffsetDateTime| now - *at < self.pace.silent;
        if topology.agents.is_empty() {
            return self.heard.values().flat_map(BTreeMap::values).filter(|at| lately(at)).count();
        }
        let heard = |agent: &&Agent| {
            let at = self.heard.get(&agent.node).and_then(|sides| sides.get(&agent.vantage));
            at.is_some_and(lately)
        };
        topology.agents.iter().filter(heard).count()
    }

    /// Incidents that are open, the oldest first.
    pub fn open(&self) -> Vec<Incident> {
        self.incidents.open()
    }

    /// The last incidents that are over, the newest first.
    pub fn closed(&self) -> Vec<Incident> {
        self.incidents.closed().cloned().collect()
    }

    /// `report`, the last one, with what is slow and incidents.
    pub fn diagnoses(&self, report: Report) -> Diagnoses {
        let slow = Slow::of(self.detector.alarms());
        Diagnoses { report, slow, open: self.open(), closed: self.closed() }
    }

    /// Whether the agent of that component was not heard lately.
    fn is_silent(&self, component: &str, now: OffsetDateTime) -> bool {
        let name = component.strip_prefix("agent/").and_then(|rest| rest.rsplit_once('/'));
        let Some((node, Ok(vantage))) = name.map(|(node, side)| (node, side.parse())) else {
            return true;
        };
        let heard = self.heard.get(node).and_then(|sides| sides.get(&vantage)).copied();
        now - heard.unwrap_or(self.began) >= self.pace.silent
    }
}

/// Since when healthy paths speak of how things are now: since the faults began that came last.
/// `earliest` at the earliest.
fn present_since(alarms: &[Alarm], earliest: OffsetDateTime) -> OffsetDateTime {
    let Some(last) = alarms.iter().map(|alarm| alarm.since).max() else { return earliest };
    let mut fresh: Vec<OffsetDateTime> =
        alarms.iter().map(|alarm| alarm.since).filter(|since| last - *since <= TOGETHER).collect();
    fresh.sort_unstable();
    // Some attempts were under way when it broke, so the first of all is too early.
    fresh[fresh.len() / 2].max(earliest)
}

/// What is not known to have a beginning is told from `now` on.
fn suspicion(diagnosis: &Diagnosis, now: OffsetDateTime) -> Suspicion {
    Suspicion {
        component: diagnosis.component.clone(),
        fault: diagnosis.fault.to_string(),
        since: diagnosis.since.unwrap_or(now),
        confidence: diagnosis.confidence,
        summary: diagnosis.evidence.first().cloned().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;

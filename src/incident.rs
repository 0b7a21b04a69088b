//! What was broken, from when to when: diagnoses that come and go, told as incidents that open once
//! and close once.
//!
//! A diagnosis that flaps is one incident. Bookkeeping only: time is an argument, and it knows
//! neither how diagnoses are made nor to whom incidents are told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::observation::rfc3339;

/// A diagnosis at least this sure opens an incident at once; others when they are made twice in a
/// row.
const SURE: f64 = 0.9;
/// An incident whose diagnosis was not made for so long is over.
pub const QUIET: Duration = Duration::from_secs(30);
/// Incidents that are over and remembered.
const REMEMBERED: usize = 500;
/// Incidents that are open at once; more are not told.
const MOST_OPEN: usize = 1000;

/// What is wrong now, as far as an incident needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspicion {
    /// The component, such as `ztunnel/node-2`.
    pub component: String,
    /// Its fault, such as `dead`.
    pub fault: String,
    /// Since when.
    pub since: OffsetDateTime,
    /// How sure, 0 to 1.
    pub confidence: f64,
    /// One line for people.
    pub summary: String,
}

/// A fault from its first sight to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Unique within one controller's life, ascending.
    pub id: u64,
    /// The component.
    pub component: String,
    /// Its fault, of the surest diagnosis.
    pub fault: String,
    /// Since when, by the evidence.
    #[serde(with = "rfc3339")]
    pub since: OffsetDateTime,
    /// When it was opened.
    #[serde(with = "rfc3339")]
    pub opened_at: OffsetDateTime,
    /// When its diagnosis was made last.
    #[serde(with = "rfc3339")]
    pub seen_at: OffsetDateTime,
    /// When it was over; `None` while it is open.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<OffsetDateTime>,
    /// The highest confidence so far, 0 to 1.
    pub confidence: f64,
    /// One line for people, of the surest diagnosis.
    pub summary: String,
}

/// What happened to an incident.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is new.
    Opened(Incident),
    /// It is over.
    Closed(Incident),
}

/// Incidents that are open, and the last that are over.
#[derive(Debug, Default)]
pub struct Incidents {
    next: u64,
    /// By component: as a fault grows or shrinks its word may change.
    open: BTreeMap<String, Incident>,
    /// Made once, by a diagnosis that is not sure.
    doubtful: BTreeMap<String, OffsetDateTime>,
    closed: VecDeque<Incident>,
    /// Until when nothing was known: that nothing was diagnosed says nothing then.
    blind: Option<OffsetDateTime>,
}

impl Incidents {
    /// Nobody told anything at `now`: what is open stays so.
    pub fn blind(&mut self, now: OffsetDateTime) {
        self.blind = Some(now);
    }

    /// What was diagnosed at `now`, everything of it; tells what opened and what is over.
    pub fn update(&mut self, suspicions: &[Suspicion], now: OffsetDateTime) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut doubtful = BTreeMap::new();
        for suspicion in suspicions {
            let key = suspicion.component.clone();
            if let Some(incident) = self.open.get_mut(&key) {
                incident.seen_at = now;
                if suspicion.confidence > incident.confidence {
                    incident.confidence = suspicion.confidence;
                    incident.fault.clone_from(&suspicion.fault);
                    incident.summary.clone_from(&suspicion.summary);
                }
                continue;
            }
            let again = self.doubtful.contains_key(&key);
            if !again && suspicion.confidence < SURE || self.open.len() >= MOST_OPEN {
                doubtful.insert(key, now);
                continue;
            }
            let incident = self.opened(suspicion, now);
            changes.push(Change::Opened(incident.clone()));
            self.open.insert(key, incident);
        }
        self.doubtful = doubtful;
        changes.extend(self.end(now));
        changes
    }

    fn opened(&mut self, suspicion: &Suspicion, now: OffsetDateTime) -> Incident {
        self.next += 1;
        Incident {
            id: self.next,
            component: suspicion.component.clone(),
            fault: suspicion.fault.clone(),
            since: suspicion.since,
            opened_at: now,
            seen_at: now,
            closed_at: None,
            confidence: suspicion.confidence,
            summary: suspicion.summary.clone(),
        }
    }

    fn end(&mut self, now: OffsetDateTime) -> Vec<Change> {
        let known = |incident: &Incident| {
            self.blind.map_or(incident.seen_at, |it| it.max(incident.seen_at))
        };
        let is_over = |incident: &Incident| now - known(incident) >= QUIET;
        let over: Vec<Incident> = self.open.values().filter(|it| is_over(it)).cloned().collect();
        self.open.retain(|_, incident| !is_over(incident));
        let over: Vec<Incident> = over
            .into_iter()
            .map(|incident| Incident { closed_at: Some(incident.seen_at), ..incident })
            .collect();
        for incident in &over {
            if self.closed.len() == REMEMBERED {
                self.closed.pop_front();
            }
            self.closed.push_back(incident.clone());
        }
        over.into_iter().map(Change::Closed).collect()
    }

    /// Incidents that are open, the oldest first.
    pub fn open(&self) -> Vec<Incident> {
        let mut open: Vec<Incident> = self.open.values().cloned().collect();
        open.sort_by_key(|incident| incident.id);
        open
    }

    /// The last incidents that are over, the newest first.
    pub fn closed(&self) -> impl Iterator<Item = &Incident> {
        self.closed.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);

    fn at(second: u64) -> OffsetDateTime {
        START + Duration::from_secs(second)
    }

    fn suspicion(component: &str, confidence: f64) -> Suspicion {
        Suspicion {
            component: component.to_owned(),
            fault: "dead".to_owned(),
            since: START,
            confidence,
            summary: format!("{component} is dead, {confidence}"),
        }
    }

    fn told<'a>(changes: &'a [Change]) -> Vec<(bool, &'a str)> {
        let one = |change: &'a Change| match change {
            Change::Opened(incident) => (true, incident.component.as_str()),
            Change::Closed(incident) => (false, incident.component.as_str()),
        };
        changes.iter().map(one).collect()
    }

    #[test]
    fn a_sure_diagnosis_opens_at_once_and_a_doubtful_one_the_second_time() {
        let mut incidents = Incidents::default();
        let both = [suspicion("a", 0.95), suspicion("b", 0.6)];
        assert_eq!(told(&incidents.update(&both, at(1))), [(true, "a")]);
        assert_eq!(told(&incidents.update(&both, at(2))), [(true, "b")]);
        assert_eq!(incidents.update(&both, at(3)), []);
        assert_eq!(incidents.open().len(), 2);
    }

    #[test]
    fn what_is_doubtful_once_and_once_again_later_is_not_told() {
        let mut incidents = Incidents::default();
        assert_eq!(incidents.update(&[suspicion("a", 0.6)], at(1)), []);
        assert_eq!(incidents.update(&[], at(2)), []);
        assert_eq!(incidents.update(&[suspicion("a", 0.6)], at(3)), []);
    }

    #[test]
    fn a_diagnosis_that_flaps_is_one_incident_that_ends_when_it_was_seen_last() {
        let mut incidents = Incidents::default();
        incidents.update(&[suspicion("a", 1.0)], at(0));
        assert_eq!(incidents.update(&[], at(20)), []);
        assert_eq!(incidents.update(&[suspicion("a", 1.0)], at(25)), []);
        assert_eq!(incidents.update(&[], at(54)), []);
        let changes = incidents.update(&[], at(55));
        assert_eq!(told(&changes), [(false, "a")]);
        assert_eq!(incidents.closed().next().expect("it").closed_at, Some(at(25)));
        assert_eq!(incidents.open(), []);
    }

    #[test]
    fn the_surest_summary_is_kept() {
        let mut incidents = Incidents::default();
        for confidence in [0.95, 0.99, 0.97] {
            incidents.update(&[suspicion("a", confidence)], at(1));
        }
        assert_eq!(incidents.open()[0].summary, "a is dead, 0.99");
    }

    proptest! {
        #[test]
        fn openings_and_closings_take_turns_and_only_quiet_closes(
            rounds in prop::collection::vec(prop::collection::btree_map(0u8..3, 0.3f64..1.0, 0..3), 1..60),
        ) {
            let mut incidents = Incidents::default();
            let mut open: BTreeMap<String, u64> = BTreeMap::new();
            let mut seen: BTreeMap<String, u64> = BTreeMap::new();
            let mut last = 0;
            for (round, sure) in rounds.iter().enumerate() {
                let second = 7 * round as u64;
                let made: Vec<Suspicion> =
                    sure.iter().map(|(n, sure)| suspicion(&n.to_string(), *sure)).collect();
                seen.extend(made.iter().map(|it| (it.component.clone(), second)));
                for change in incidents.update(&made, at(second)) {
                    match change {
                        Change::Opened(it) => {
                            prop_assert!(it.id > last && it.closed_at.is_none());
                            last = it.id;
                            prop_assert_eq!(open.insert(it.component, it.id), None);
                        }
                        Change::Closed(it) => {
                            let quiet = second - seen[&it.component];
                            prop_assert!(quiet >= QUIET.as_secs());
                            prop_assert_eq!(it.closed_at, Some(at(seen[&it.component])));
                            prop_assert_eq!(open.remove(&it.component), Some(it.id));
                        }
                    }
                }
                let told: Vec<u64> = incidents.open().iter().map(|it| it.id).collect();
                let mut expected: Vec<u64> = open.values().copied().collect();
                expected.sort_unstable();
                prop_assert_eq!(told, expected);
            }
        }
    }

    #[test]
    fn history_is_bounded() {
        let mut incidents = Incidents::default();
        for n in 0..2 * REMEMBERED {
            let second = 100 * n as u64;
            incidents.update(&[suspicion(&format!("node/{n}"), 1.0)], at(second));
            incidents.update(&[], at(second + 60));
        }
        assert_eq!(incidents.closed().count(), REMEMBERED);
        assert_eq!(incidents.closed().next().expect("it").id, 2 * REMEMBERED as u64);
    }
}

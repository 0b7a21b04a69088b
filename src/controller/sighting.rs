//! What one agent's windows say of one target: bounded, reduced to the latest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::expectation::Verdict;
use crate::observation::{Expected, Latency, Observation, Verdicts, rfc3339};
use crate::target::ProbeKind;

/// Targets of one agent that are kept.
const MOST_TARGETS: usize = 2000;

/// What a target showed in the newest window in which an attempt began, or that none has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// The target, by its name within the agent's plan.
    pub target: String,
    /// Its kind of probe.
    pub probe: ProbeKind,
    /// What had to come back.
    pub expect: Expected,
    /// When the window began.
    #[serde(with = "rfc3339")]
    pub window_start: OffsetDateTime,
    /// How long windows are, seconds.
    pub window_seconds: u64,
    /// Attempts by verdict.
    pub verdicts: Verdicts,
    /// Failures by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
    /// How long the successful ones took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<Latency>,
}

impl Sighting {
    fn of(observation: &Observation) -> Self {
        let reasons = observation.reasons.iter();
        Self {
            target: observation.name().to_owned(),
            probe: observation.probe,
            expect: observation.expect,
            window_start: observation.window_start,
            window_seconds: observation.window_seconds,
            verdicts: observation.verdicts,
            reasons: reasons.map(|(reason, n)| (reason.as_str().to_owned(), *n)).collect(),
            latency_seconds: observation.latency_seconds,
        }
    }

    /// Whether any attempt has ended.
    pub fn attempted(&self) -> bool {
        self.verdicts.total() > 0
    }

    /// The verdict of the window: violated when any attempt was, else met when any was.
    pub fn verdict(&self) -> Verdict {
        self.verdicts.overall()
    }

    /// The row of the truth table: the target's name up to its first `/`.
    pub fn row(&self) -> &str {
        self.target.split('/').next().unwrap_or_default()
    }

    /// The most frequent reason of failure.
    pub fn reason(&self) -> Option<&str> {
        let most = self.reasons.iter().max_by_key(|(_, count)| **count);
        most.map(|(reason, _)| reason.as_str())
    }
}

/// The newest sighting of every target among `observations` of one agent, by name.
///
/// The window under way counts: what breaks now is not to wait for its end.
pub(super) fn sightings(observations: &[Observation]) -> Vec<Sighting> {
    let mut latest: BTreeMap<&str, &Observation> = BTreeMap::new();
    for observation in observations {
        let name = observation.name();
        let Some(seen) = latest.get_mut(name) else {
            if latest.len() < MOST_TARGETS {
                latest.insert(name, observation);
            }
            continue;
        };
        if seen.window_start < observation.window_start {
            *seen = observation;
        }
    }
    latest.into_values().map(Sighting::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Told;

    fn observation(target: &str, start: &str, violated: u64) -> String {
        format!(
            r#"{{"source_node":"n","target":"{target}","probe":"http","expect":"reply",
            "window_start":"{start}","window_seconds":10,"attempts":3,
            "verdicts":{{"met":2,"violated":{violated},"inconclusive":0}},
            "reasons":{{"reset":{violated}}},"latency_seconds":{{"p50":0.001,"p99":0.002}}}}"#
        )
    }

    fn seen(body: &str) -> Vec<Sighting> {
        sightings(&Told::read(body.as_bytes()).expect("windows").observations)
    }

    #[test]
    fn the_newest_window_of_a_target_counts() {
        let old = observation("peer/a", "2026-01-01T00:00:10Z", 1);
        let new = observation("peer/a", "2026-01-01T00:00:20Z", 0);
        for body in [format!("[{old},{new}]"), format!("[{new},{old}]")] {
            let seen = seen(&body);
            assert_eq!((seen.len(), seen[0].verdict()), (1, Verdict::Met));
        }
    }

    #[test]
    fn one_violation_makes_a_window_violated_and_names_its_reason() {
        let seen = seen(&format!("[{}]", observation("canary/node-2", "2026-01-01T00:00:10Z", 1)));
        assert_eq!((seen[0].verdict(), seen[0].row()), (Verdict::Violated, "canary"));
        assert_eq!(seen[0].reason(), Some("reset"));
    }

    #[test]
    fn targets_are_told_by_their_names_and_not_by_what_they_share() {
        let one = |name: &str| {
            let text = observation("peer", "2026-01-01T00:00:10Z", 0);
            text.replace("\"target\"", &format!("\"name\":\"{name}\",\"target\""))
        };
        let seen = seen(&format!("[{},{}]", one("peer/b"), one("peer/a")));
        let names: Vec<&str> = seen.iter().map(|it| it.target.as_str()).collect();
        assert_eq!(names, ["peer/a", "peer/b"]);
        let json = serde_json::to_value(&seen[0]).expect("it has a form");
        assert_eq!(json["window_start"], "2026-01-01T00:00:10Z");
        assert_eq!(json["verdicts"]["met"], 2);
    }

    #[test]
    fn a_target_without_attempts_is_kept_and_inconclusive() {
        let body = observation("peer/a", "2026-01-01T00:00:10Z", 0);
        let seen = seen(&format!("[{}]", body.replace(r#""met":2"#, r#""met":0"#)));
        assert_eq!((seen[0].attempted(), seen[0].verdict()), (false, Verdict::Inconclusive));
    }
}

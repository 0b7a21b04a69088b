//! What one agent's windows say of one target: parsed, bounded, reduced to the latest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::expectation::Verdict;

/// Targets of one agent that are kept.
const MOST_TARGETS: usize = 2000;

/// An observation as agents tell it on `/v1/window`; what else they tell is not used here.
#[derive(Debug, Deserialize)]
struct Observation {
    target: String,
    probe: String,
    expect: String,
    window_start: String,
    window_seconds: u64,
    verdicts: BTreeMap<Verdict, u64>,
    #[serde(default)]
    reasons: BTreeMap<String, u64>,
    latency_seconds: Option<Latency>,
}

/// Quantiles of the attempts that succeeded, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// What a target showed in the newest window in which an attempt began, or that none has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// The target.
    pub target: String,
    /// Its kind of probe.
    pub probe: String,
    /// `reply` or `denied`.
    pub expect: String,
    /// When the window began, RFC 3339.
    pub window_start: String,
    /// How long windows are, seconds.
    pub window_seconds: u64,
    /// Attempts by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Failures by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
    /// How long the successful ones took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<Latency>,
}

impl Sighting {
    /// Whether any attempt has ended.
    pub fn attempted(&self) -> bool {
        self.verdicts.values().any(|count| *count > 0)
    }

    /// The verdict of the window: violated when any attempt was, else met when any was.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.verdicts.get(&verdict).is_some_and(|count| *count > 0);
        [Verdict::Violated, Verdict::Met]
            .into_iter()
            .find(|verdict| any(*verdict))
            .unwrap_or(Verdict::Inconclusive)
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

/// The newest sighting of every target in the body of `/v1/window`, by name.
///
/// The window under way counts: what breaks now is not to wait for its end.
pub(super) fn sightings(body: &[u8]) -> Result<Vec<Sighting>, serde_json::Error> {
    let observations: Vec<Observation> = serde_json::from_slice(body)?;
    let mut latest: BTreeMap<String, Sighting> = BTreeMap::new();
    for observation in observations {
        let known = latest.contains_key(&observation.target);
        if !known && latest.len() == MOST_TARGETS {
            continue;
        }
        // RFC 3339 in UTC with whole seconds: as text in the order of time.
        let newer = |seen: &Sighting| seen.window_start < observation.window_start;
        if latest.get(&observation.target).is_none_or(newer) {
            let Observation { target, probe, expect, window_start, window_seconds, .. } =
                observation;
            let sighting = Sighting {
                target: target.clone(),
                probe,
                expect,
                window_start,
                window_seconds,
                verdicts: observation.verdicts,
                reasons: observation.reasons,
                latency_seconds: observation.latency_seconds,
            };
            latest.insert(target, sighting);
        }
    }
    Ok(latest.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(target: &str, start: &str, violated: u64) -> String {
        format!(
            r#"{{"source_node":"n","target":"{target}","probe":"http","expect":"reply",
            "window_start":"{start}","window_seconds":10,"attempts":3,
            "verdicts":{{"met":2,"violated":{violated},"inconclusive":0}},
            "reasons":{{"reset":{violated}}},"latency_seconds":{{"p50":0.001,"p99":0.002}}}}"#
        )
    }

    #[test]
    fn the_newest_window_of_a_target_counts() {
        let old = observation("peer/a", "2026-01-01T00:00:10Z", 1);
        let new = observation("peer/a", "2026-01-01T00:00:20Z", 0);
        for body in [format!("[{old},{new}]"), format!("[{new},{old}]")] {
            let seen = sightings(body.as_bytes()).expect("windows");
            assert_eq!((seen.len(), seen[0].verdict()), (1, Verdict::Met));
        }
    }

    #[test]
    fn one_violation_makes_a_window_violated_and_names_its_reason() {
        let body = format!("[{}]", observation("canary/node-2", "2026-01-01T00:00:10Z", 1));
        let seen = sightings(body.as_bytes()).expect("windows");
        assert_eq!((seen[0].verdict(), seen[0].row()), (Verdict::Violated, "canary"));
        assert_eq!(seen[0].reason(), Some("reset"));
    }

    #[test]
    fn a_target_without_attempts_is_kept_and_inconclusive() {
        let body =
            observation("peer/a", "2026-01-01T00:00:10Z", 0).replace(r#""met":2"#, r#""met":0"#);
        let seen = sightings(format!("[{body}]").as_bytes()).expect("windows");
        assert_eq!((seen[0].attempted(), seen[0].verdict()), (false, Verdict::Inconclusive));
    }

    #[test]
    fn what_is_no_list_of_windows_is_an_error() {
        for body in ["", "{}", "[1]", r#"[{"target":"a"}]"#] {
            assert!(sightings(body.as_bytes()).is_err(), "{body}");
        }
    }
}

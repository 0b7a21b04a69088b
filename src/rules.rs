//! Rules for Prometheus: what it records of agents' series, and when it alerts.
//!
//! Made of what the SLOs say, and of two files that the chart ships as well. Knows nothing of a
//! running Prometheus.

mod export;
mod shipped;
mod slo;
mod write;

#[cfg(test)]
mod tests;

pub use export::{Exported, Unfit, pyrra, sloth};

use crate::slo::Slo;

/// Where runbooks are, when nobody says: in this project.
pub const RUNBOOKS: &str = "docs/runbooks";

/// The groups of a rule file.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    groups: Vec<Group>,
}

/// Rules that are evaluated one after the other.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    name: String,
    /// How often, as Prometheus writes durations; `None`: as often as it does by default.
    interval: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Record {
        record: String,
        expr: String,
        labels: Vec<(String, String)>,
    },
    Alert {
        alert: String,
        expr: String,
        /// How long it must hold, as Prometheus writes durations.
        lasting: String,
        labels: Vec<(String, String)>,
        annotations: Vec<(String, String)>,
    },
}

/// Which rules are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Alerts that depend on no SLO.
    pub alerts: bool,
    /// What is recorded whatever the SLOs are.
    pub records: bool,
    /// What is recorded and alerted for each SLO.
    pub slos: bool,
}

impl Parts {
    /// All of them.
    pub const ALL: Self = Self { alerts: true, records: true, slos: true };
}

/// What is to be recorded and alerted of a fleet with these SLOs; links of alerts lead to
/// `runbooks`, a folder or the start of a URL.
pub fn rules(slos: &[Slo], runbooks: &str, parts: Parts) -> Rules {
    let runbooks = runbooks.trim_end_matches('/');
    let mut groups = Vec::new();
    if parts.alerts {
        groups.push(shipped::alerts(runbooks));
    }
    if parts.records {
        groups.extend(shipped::records());
    }
    if parts.slos {
        groups.extend(slo::groups(slos, runbooks));
    }
    Rules { groups }
}

/// The annotations of an alert: a sentence, more of it, and where to read on.
fn annotations(
    alert: &str,
    summary: &str,
    description: &str,
    runbooks: &str,
) -> Vec<(String, String)> {
    let pairs = [
        ("description", description.to_owned()),
        ("runbook_url", format!("{runbooks}/{alert}.md")),
        ("summary", summary.to_owned()),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

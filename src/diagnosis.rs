//! Which component is broken, how, and since when: what explains all observations best.
//!
//! Pure: observations and the topology in, ranked diagnoses out. Everything that was seen counts,
//! what is healthy as well: a component is cleared by what goes through it and is answered.
//! Inconclusive attempts accuse nobody but our own agents.

mod agents;
mod component;
mod infer;
mod lines;
mod path;
mod signature;
mod topology;
mod words;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::observation::{Observation, rfc3339};
use infer::Inference;
use topology::Index;

pub use lines::{Malformed, read_observations};
pub use topology::{Endpoint, Node, Replica, Service, Topology};

/// Everything that is wrong, the surest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What is broken.
    pub diagnoses: Vec<Diagnosis>,
    /// The share of all failed attempts that these account for, 0 to 1; 1 when none failed.
    pub explained_fraction: f64,
    /// Conclusive attempts that were looked at; without any, nothing is known.
    #[serde(default)]
    pub attempts: u64,
    /// Failures among them.
    #[serde(default)]
    pub failures: u64,
}

/// One fault of one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// `ztunnel/<node>`, `coredns/<pod>`, …
    pub component: String,
    /// `dead`, `gray`, …
    pub fault: String,
    /// Start of the first window that shows it.
    #[serde(with = "rfc3339")]
    pub since: OffsetDateTime,
    /// How sure it is this component and no other, 0 to 1.
    pub confidence: f64,
    /// The share of attempts that it strikes, about; 1 for a hard fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// What speaks for and against it, in words and numbers.
    pub evidence: Vec<String>,
    /// Components that would explain it nearly as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<String>,
    /// What to run next.
    pub next: String,
}

/// What is wrong by `observations`, in a cluster of `topology`.
///
/// All observations are taken to be of one time: who has many windows gives those that speak of
/// now. Nodes that only observations name are known all the same.
pub fn diagnose(topology: &Topology, observations: &[Observation]) -> Report {
    let sources = observations.iter().map(|it| it.source_node.as_str());
    let others = observations.iter().filter_map(|it| it.destination_node.as_deref());
    let index = Index::new(topology, sources.chain(others));
    let paths = path::paths(observations, &index);
    let mut inference = Inference::new(&paths, &index);
    let found = inference.run();
    let mut diagnoses: Vec<Diagnosis> =
        found.iter().map(|found| words::diagnosis(found, &inference, &index)).collect();
    agents::accuse(topology, observations, &mut diagnoses);
    Report {
        diagnoses,
        explained_fraction: inference.explained(),
        attempts: paths.iter().map(path::Path::attempts).sum(),
        failures: paths.iter().map(|path| path.violated).sum(),
    }
}

impl Report {
    /// The first line for an operator.
    pub fn headline(&self) -> String {
        match (self.diagnoses.first(), self.attempts, self.failures) {
            (Some(first), _, _) => {
                let others = match self.diagnoses.len() - 1 {
                    0 => String::new(),
                    n => format!(", and {n} more"),
                };
                format!("{} is {}{others}", first.component, first.fault)
            }
            (None, 0, _) => "nothing is known: no attempt was conclusive".to_owned(),
            (None, _, 0) => "nothing is wrong".to_owned(),
            (None, all, failures) => {
                format!("{failures} of {all} attempts failed, and no one component explains it")
            }
        }
    }
}

#[cfg(test)]
mod tests;

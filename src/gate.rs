//! The gate: is it safe to apply STRICT to a namespace, or to the mesh?
//!
//! Pure: from an [`Evidence`] that somebody put together to a [`Report`], time included. Knows
//! neither where observations come from nor who asks. Nine checks, each pass, warn, fail or not
//! enough evidence; the worst decides. Enough evidence is a number: the exact upper bound of the
//! failure rate ([`bound`]), of every node by itself and of all together, over hours ([`tally`]).
//! Of one check all attempts of a node are pooled, whatever they asked; what that would hide, one
//! path that is dead among many, is looked for by itself.

pub mod answer;
pub mod bound;
pub mod change;
mod check;
pub mod command;
mod data_plane;
pub mod gauges;
mod plaintext;
mod policies;
mod proof;
mod recent;
pub mod report;
mod rows;
pub mod tally;
mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::cluster::mtls::{Effective, PeerAuthentication, Policies};
use crate::cluster::{Cluster, Labels, ObjectRef};
use crate::flow::FleetFlows;
use crate::observation::Observation;
use crate::target::Vantage;
pub use check::Check;
use command::Commands;
use recent::Recent;
pub use report::{CheckResult, GateResult, Report};
use tally::Tally;

/// What STRICT is to be applied to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scope {
    /// A namespace.
    Namespace {
        /// Its name.
        namespace: String,
    },
    /// The whole mesh.
    Mesh,
}

/// What is enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The share of attempts that must succeed.
    pub objective: f64,
    /// How sure of it one must be.
    pub confidence: f64,
    /// For how long nobody may have called in plaintext.
    pub quiet: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { objective: 0.999, confidence: 0.95, quiet: Duration::from_secs(600) }
    }
}

/// Everything that the gate judges by.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// What is asked about.
    pub scope: Scope,
    /// The time of judgement.
    pub now: OffsetDateTime,
    /// How far back `observations` are of now.
    pub window: Duration,
    /// What is enough.
    pub settings: Settings,
    /// The cluster, as it was last read.
    pub cluster: &'a Cluster,
    /// `meshConfig.rootNamespace`.
    pub root_namespace: &'a str,
    /// Where meshprobe's own agents are: no users.
    pub own_namespaces: &'a BTreeSet<String>,
    /// How meshprobe's agents are linked to whoever put this together.
    pub agents: Vec<Standing>,
    /// What agents saw within `window`; windows of a path may come one by one or as one.
    pub observations: &'a [Observation],
    /// What they saw of that in the last minute or so, in the same way.
    pub lately: &'a [Observation],
    /// What they saw over hours.
    pub tally: &'a Tally,
    /// Who calls whom; `None` when nobody looks.
    pub flows: Option<&'a FleetFlows>,
    /// What is not probed.
    pub unprobed: Vec<Unprobed>,
}

/// An agent that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its node.
    pub node: String,
    /// Its side of the mesh.
    pub vantage: Vantage,
    /// Whether it is connected.
    pub linked: bool,
    /// How long ago its windows came; `None` when they never did.
    pub age: Option<Duration>,
}

/// Something that is not probed because nobody could say what must come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unprobed {
    /// What.
    pub object: ObjectRef,
    /// A closed word.
    pub reason: &'static str,
    /// Why, and what would mend it.
    pub message: String,
}

impl Scope {
    /// The namespace `name`.
    pub fn of(name: &str) -> Self {
        Self::Namespace { namespace: name.to_owned() }
    }

    /// Whether `namespace` is within it.
    pub fn holds(&self, namespace: &str) -> bool {
        match self {
            Self::Namespace { namespace: only } => only == namespace,
            Self::Mesh => true,
        }
    }

    /// Whether observations of Services in `namespace` say something of it; those of everything
    /// else (`None`) always do.
    pub(crate) fn reads(&self, namespace: Option<&str>) -> bool {
        namespace.is_none_or(|namespace| self.holds(namespace))
    }

    /// The namespace, for a label; empty for the mesh.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Namespace { namespace } => namespace,
            Self::Mesh => "",
        }
    }
}

/// The namespace's name, or `the mesh`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace { namespace } => f.write_str(namespace),
            Self::Mesh => f.write_str("the mesh"),
        }
    }
}

impl Evidence<'_> {
    /// The nodes that must prove something: those with a ztunnel, or all while none is known.
    fn nodes(&self) -> BTreeSet<&str> {
        let cluster = self.cluster;
        if cluster.ztunnels.is_empty() {
            return cluster.nodes.keys().map(String::as_str).collect();
        }
        cluster.ztunnels.keys().map(String::as_str).collect()
    }

    /// The mode in force in the scope as a whole.
    fn mode(&self) -> Option<Effective> {
        let policies = self.cluster.peer_authentications.as_deref()?;
        Some(mode(policies, self.root_namespace, &self.scope))
    }

    fn commands(&self) -> Option<Commands> {
        let policies = self.cluster.peer_authentications.as_deref()?;
        Some(Commands::of(&self.scope, policies, self.root_namespace))
    }

    /// The share of attempts that may fail.
    fn allowed(&self) -> f64 {
        1.0 - self.settings.objective
    }
}

/// The mode that `policies` make of `scope` as a whole: of a workload without labels.
pub(crate) fn mode(
    policies: &[PeerAuthentication],
    root_namespace: &str,
    scope: &Scope,
) -> Effective {
    let namespace = match scope {
        Scope::Namespace { namespace } => namespace,
        Scope::Mesh => root_namespace,
    };
    // Port 0 is in no policy's list.
    Policies::new(policies, root_namespace).effective(namespace, &Labels::new(), 0)
}

/// Judges `evidence`. A scope of which nothing is known is told as such, and never ready.
pub fn judge(evidence: &Evidence<'_>) -> Report {
    let recent = Recent::of(evidence);
    let (plaintext, callers) = plaintext::check(evidence);
    let checks = vec![
        data_plane::ztunnel(evidence, &recent),
        rows::istiod(evidence, &recent),
        rows::coredns(evidence, &recent),
        rows::connectivity(evidence, &recent),
        rows::canary(evidence, &recent),
        data_plane::capture(evidence, &recent),
        plaintext,
        rows::certificates(evidence, &recent),
        policies::check(evidence, &recent),
    ];
    Report::of(evidence, checks, callers)
}

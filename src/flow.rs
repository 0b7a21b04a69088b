//! Connections that ztunnels counted, by who called whom and whether mTLS carried them: what the
//! question "who would break under STRICT" is answered from.
//!
//! Vocabulary only: an agent tells [`NodeFlows`] of its node's ztunnel, [`FleetFlows`] is all of
//! them as pairs of workloads. Knows neither how counters are read nor what is in which scope.

mod merge;

pub use merge::{FleetFlows, FlowPair, NodeStanding};

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::observation::rfc3339;

/// What one agent knows from its node's ztunnel: the body of `/v1/flows`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFlows {
    /// The node.
    pub node: String,
    /// How its ztunnel is; `None` when this agent was never told to look at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ztunnel: Option<ZtunnelHealth>,
    /// Plaintext flows one by one, mTLS as one flow of an unnamed source per destination.
    #[serde(default)]
    pub flows: Vec<Flow>,
    /// Series of plaintext that were not kept: too many, or names too long. Above zero, `flows` is
    /// not everybody.
    #[serde(default)]
    pub dropped_plaintext: u64,
    /// The same of mTLS, where only the proof of it is lost.
    #[serde(default)]
    pub dropped_mutual_tls: u64,
}

/// Connections of one kind that one node's ztunnel took in for pods of that node
/// (`istio_tcp_connections_opened_total` with reporter `destination`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// The node, which is the destination's.
    pub node: String,
    /// Who called.
    #[serde(default)]
    pub source: FlowSource,
    /// Who was called.
    pub destination: FlowDestination,
    /// What carried it.
    pub security: FlowSecurity,
    /// Opened before the agent looked for the first time: somewhen since ztunnel started.
    #[serde(default)]
    pub opened_before: u64,
    /// Opened since then, as the sum of what successive looks showed.
    #[serde(default)]
    pub opened: u64,
    /// Of `opened`, those that a policy denied: they break already.
    #[serde(default)]
    pub denied: u64,
    /// Opened per second between the last two looks; 0 when the last look was the first.
    #[serde(default)]
    pub rate_per_second: f64,
    /// When the agent saw this flow for the first time.
    #[serde(with = "rfc3339")]
    pub first_seen: OffsetDateTime,
    /// The last look at which the count had grown; `None` when all was opened before.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<OffsetDateTime>,
}

/// Who called, as far as ztunnel could tell: a source outside the mesh that it has no workload for
/// has no names at all, and a plaintext one never has a principal.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowSource {
    /// Name of the workload, such as a Deployment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// SPIFFE ID of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

/// Who was called.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowDestination {
    /// Name of the workload, such as a Deployment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the Service that ztunnel took the pod for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// That Service's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_namespace: Option<String>,
    /// Label `service.istio.io/canonical-name` or what stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_service: Option<String>,
}

/// What carried a connection (label `connection_security_policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowSecurity {
    /// `unknown`: ztunnel's word for what came without mTLS of its own.
    Plaintext,
    /// `mutual_tls`.
    MutualTls,
}

impl FlowSecurity {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plaintext, Self::MutualTls];
}

/// How a ztunnel is, by its own word and by how its counters move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZtunnelHealth {
    /// When the agent looked for the first time.
    #[serde(with = "rfc3339")]
    pub watched_since: OffsetDateTime,
    /// What `/healthz/ready` said last; `None` before it answered. No evidence of working mTLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// What it waits for when it is not ready, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// Its version (label `tag` of `istio_build`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Restarts since `watched_since`: its counters began anew. Several between two looks are one.
    #[serde(default)]
    pub restarts: u64,
    /// The look that showed the last of them.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_restart: Option<OffsetDateTime>,
    /// Connections to istiod that ended, by reason (`ConnectionError`, `Error`, `Reconnect`,
    /// `Complete`).
    #[serde(default)]
    pub xds_terminations: BTreeMap<String, Terminations>,
    /// When its counters were last read in full.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_scrape: Option<OffsetDateTime>,
    /// Time between the last two such reads, seconds: what the rates are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<f64>,
    /// Reads that succeeded since `watched_since`.
    #[serde(default)]
    pub scrapes: u64,
    /// Reads that failed since then: nothing was learned from them.
    #[serde(default)]
    pub scrape_failures: u64,
}

/// How often connections to istiod ended for one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Terminations {
    /// Since the agent looks.
    #[serde(default)]
    pub count: u64,
    /// Per second between the last two looks.
    #[serde(default)]
    pub rate_per_second: f64,
}

impl FlowSource {
    /// Whether ztunnel could name nothing of it.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// `<namespace>/<workload>`, or `unknown`.
impl fmt::Display for FlowSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.principal {
            Some(principal) if self.workload.is_none() => f.write_str(principal),
            _ => write(f, self.namespace.as_deref(), self.workload.as_deref()),
        }
    }
}

/// `<namespace>/<workload>`, or `unknown`.
impl fmt::Display for FlowDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.namespace.as_deref(), self.workload.as_deref())
    }
}

fn write(f: &mut fmt::Formatter<'_>, namespace: Option<&str>, name: Option<&str>) -> fmt::Result {
    match (namespace, name) {
        (None, None) => f.write_str("unknown"),
        (Some(namespace), name) => write!(f, "{namespace}/{}", name.unwrap_or("unknown")),
        (None, Some(name)) => f.write_str(name),
    }
}

impl Flow {
    /// All connections that are known of, those before the first look included.
    pub fn total(&self) -> u64 {
        self.opened_before.saturating_add(self.opened)
    }
}

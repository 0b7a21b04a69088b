//! The metrics of a controller: the fleet as it sees it, and its own work. No series per agent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Key, Label};
use metrics_util::registry::Registry;

use crate::cluster::FindingReason;
use crate::metrics::cells::Cells;
use crate::metrics::{Exposition, counter, gauge, names};
use crate::target::Vantage;

/// The metrics of one controller.
pub struct ControllerMetrics(pub(super) Registry<Key, Cells>);

/// The fleet at the time of a scrape.
#[derive(Debug)]
pub struct FleetState {
    /// Whether plans can be served.
    pub synced: bool,
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Agents' pods by vantage.
    pub agents: [(Vantage, u64); 2],
    /// Agents with a connection to this controller.
    pub connected: u64,
    /// Findings by reason; what is absent is 0.
    pub findings: BTreeMap<&'static str, u64>,
    /// What is not probed because nobody could say what must come back.
    pub unknown: u64,
    /// Since when the quietest watch was not heard of.
    pub stale: Option<Duration>,
    /// Whether it holds the Lease.
    pub leads: bool,
    /// Events that were written, and that were not.
    pub events: [u64; 2],
    /// Connections of agents: accepted, failed, refused.
    pub connections: [u64; 3],
    /// Paths whose windows are remembered.
    pub paths: u64,
    /// Bytes of those windows.
    pub evidence_bytes: u64,
}

impl std::fmt::Debug for ControllerMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControllerMetrics").finish_non_exhaustive()
    }
}

impl Default for ControllerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl ControllerMetrics {
    /// Counters that exist from the start, at zero.
    pub fn new() -> Self {
        let metrics = Self(Registry::new(Cells {
            constant: Vec::new(),
            bounds: Vec::new(),
            default_bounds: Arc::from([]),
        }));
        let version = vec![Label::new("version", env!("CARGO_PKG_VERSION"))];
        metrics.set(Key::from_parts(names::BUILD_INFO, version), 1.0);
        for code in ["200", "304"] {
            let labels = vec![Label::new("code", code)];
            counter(&metrics.0, &Key::from_parts(names::PLAN_REQUESTS, labels)).increment(0);
        }
        for result in ["success", "failure"] {
            for name in [names::WINDOWS_PULLED, names::FLOWS_PULLED] {
                counter(&metrics.0, &labelled(name, "result", result)).increment(0);
            }
        }
        metrics.windows_refused(0);
        metrics
    }

    /// A plan was asked for and answered with this status.
    pub fn plan_served(&self, code: u16) {
        let labels = vec![Label::new("code", code.to_string())];
        counter(&self.0, &Key::from_parts(names::PLAN_REQUESTS, labels)).increment(1);
    }

    /// An agent's windows were pulled, or it did not tell them.
    pub fn window_pulled(&self, good: bool) {
        let result = if good { "success" } else { "failure" };
        counter(&self.0, &labelled(names::WINDOWS_PULLED, "result", result)).increment(1);
    }

    /// So many of the windows that an agent told were not taken in.
    pub fn windows_refused(&self, count: u64) {
        counter(&self.0, &Key::from_static_name(names::WINDOWS_REFUSED)).increment(count);
    }

    /// A plain agent's flows were pulled, or it did not tell them.
    pub fn flows_pulled(&self, good: bool) {
        let result = if good { "success" } else { "failure" };
        counter(&self.0, &labelled(names::FLOWS_PULLED, "result", result)).increment(1);
    }

    /// An incident of `component` was opened, or is over.
    pub fn incident(&self, component: &str, fault: &str, opened: bool) {
        // Kinds and faults are closed words; names of components are not.
        let kind = component.split('/').next().unwrap_or_default().to_owned();
        let labels =
            vec![Label::new("component_kind", kind.clone()), Label::new("fault", fault.to_owned())];
        let name = if opened { names::DIAGNOSES_OPENED } else { names::DIAGNOSES_CLOSED };
        counter(&self.0, &Key::from_parts(name, labels)).increment(1);
        let kind = vec![Label::new("component_kind", kind)];
        let active = gauge(&self.0, &Key::from_parts(names::DIAGNOSES_ACTIVE, kind));
        if opened {
            active.increment(1.0);
        } else {
            active.decrement(1.0);
        }
    }

    /// So many paths are slow.
    pub fn slow(&self, paths: usize) {
        self.set(Key::from_static_name(names::SLOW_PATHS), paths as f64);
    }

    /// The fleet as it is now.
    pub fn fleet(&self, state: &FleetState) {
        let plain = Key::from_static_name;
        self.set(plain(names::SYNCED), f64::from(u8::from(state.synced)));
        self.set(plain(names::NODES), state.nodes as f64);
        for (vantage, count) in state.agents {
            self.set(labelled(names::AGENTS, "vantage", vantage.as_str()), count as f64);
        }
        self.set(plain(names::AGENTS_CONNECTED), state.connected as f64);
        for reason in FindingReason::ALL {
            let count = state.findings.get(reason.as_str()).copied().unwrap_or(0);
            self.set(labelled(names::FINDINGS, "reason", reason.as_str()), count as f64);
        }
        self.set(plain(names::UNKNOWN), state.unknown as f64);
        if let Some(stale) = state.stale {
            self.set(plain(names::DISCOVERY_STALE), stale.as_secs_f64());
        }
        self.set(plain(names::LEADER), f64::from(u8::from(state.leads)));
        self.set(plain(names::PATHS), state.paths as f64);
        self.set(plain(names::EVIDENCE_BYTES), state.evidence_bytes as f64);
        for (result, count) in ["success", "failure"].into_iter().zip(state.events) {
            counter(&self.0, &labelled(names::EVENTS, "result", result)).absolute(count);
        }
        let results = ["accepted", "failed", "refused"];
        for (result, count) in results.into_iter().zip(state.connections) {
            counter(&self.0, &labelled(names::CONNECTIONS, "result", result)).absolute(count);
        }
    }

    /// The text format of Prometheus, in pieces.
    pub fn exposition(&self) -> Exposition {
        Exposition::new(&self.0)
    }

    fn set(&self, key: Key, value: f64) {
        gauge(&self.0, &key).set(value);
    }
}

fn labelled(name: &'static str, label: &'static str, value: &'static str) -> Key {
    Key::from_parts(name, vec![Label::new(label, value)])
}

//! What all nodes told, as pairs of workloads. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Flow, FlowDestination, FlowSecurity, FlowSource, NodeFlows, ZtunnelHealth};
use crate::observation::rfc3339;

/// What the ztunnels of all nodes counted, as far as their agents told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetFlows {
    /// The nodes that were heard, by name; a node that is missing told nothing.
    #[serde(default)]
    pub nodes: Vec<NodeStanding>,
    /// Who calls whom, in the order of destination, source and security.
    #[serde(default)]
    pub pairs: Vec<FlowPair>,
}

/// What is known of one node's ztunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// The node.
    pub node: String,
    /// How long ago its agent told this, seconds.
    pub age_seconds: f64,
    /// How its ztunnel is; `None` when the agent was never told to look at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ztunnel: Option<ZtunnelHealth>,
    /// See [`NodeFlows::dropped_plaintext`].
    #[serde(default)]
    pub dropped_plaintext: u64,
    /// See [`NodeFlows::dropped_mutual_tls`].
    #[serde(default)]
    pub dropped_mutual_tls: u64,
}

/// One workload that calls another, over all nodes; of mTLS, all that call it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowPair {
    /// Who calls.
    #[serde(default)]
    pub source: FlowSource,
    /// Who is called.
    pub destination: FlowDestination,
    /// What carries it.
    pub security: FlowSecurity,
    /// Opened before the agents looked for the first time.
    #[serde(default)]
    pub opened_before: u64,
    /// Opened since then.
    #[serde(default)]
    pub opened: u64,
    /// Of those, denied by a policy.
    #[serde(default)]
    pub denied: u64,
    /// Opened per second, the sum over the nodes.
    #[serde(default)]
    pub rate_per_second: f64,
    /// When an agent saw it for the first time.
    #[serde(with = "rfc3339")]
    pub first_seen: OffsetDateTime,
    /// When a count had last grown; `None` when all was opened before.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<OffsetDateTime>,
    /// The nodes whose ztunnels counted it: where the destination runs.
    #[serde(default)]
    pub nodes: BTreeSet<String>,
}

type Key = (FlowDestination, FlowSource, FlowSecurity);

impl FleetFlows {
    /// Merges what agents told, each with its age; one telling per node.
    pub fn of<'a>(told: impl IntoIterator<Item = (&'a NodeFlows, Duration)>) -> Self {
        Self::within(None, told)
    }

    /// The same with only the pairs whose destination is in `namespace`, when one is named.
    pub fn within<'a>(
        namespace: Option<&str>,
        told: impl IntoIterator<Item = (&'a NodeFlows, Duration)>,
    ) -> Self {
        let mut nodes = BTreeMap::new();
        let mut pairs: BTreeMap<Key, FlowPair> = BTreeMap::new();
        for (telling, age) in told {
            let standing = NodeStanding {
                node: telling.node.clone(),
                age_seconds: age.as_secs_f64(),
                ztunnel: telling.ztunnel.clone(),
                dropped_plaintext: telling.dropped_plaintext,
                dropped_mutual_tls: telling.dropped_mutual_tls,
            };
            nodes.insert(telling.node.clone(), standing);
            let wanted = |flow: &&Flow| {
                namespace.is_none() || flow.destination.namespace.as_deref() == namespace
            };
            for flow in telling.flows.iter().filter(wanted) {
                let key = (flow.destination.clone(), flow.source.clone(), flow.security);
                pairs.entry(key).or_insert_with(|| FlowPair::empty(flow)).add(flow);
            }
        }
        Self { nodes: nodes.into_values().collect(), pairs: pairs.into_values().collect() }
    }

    /// The same with only the pairs whose destination is in `namespace`.
    pub fn into_namespace(mut self, namespace: &str) -> Self {
        self.pairs.retain(|pair| pair.destination.namespace.as_deref() == Some(namespace));
        self
    }

    /// Those that come without mTLS.
    pub fn plaintext(&self) -> impl Iterator<Item = &FlowPair> {
        self.pairs.iter().filter(|pair| pair.security == FlowSecurity::Plaintext)
    }

    /// Those of them that are not of probers: whose source is in none of the `own` namespaces.
    pub fn plaintext_of_users<'a>(
        &'a self,
        own: &'a BTreeSet<String>,
    ) -> impl Iterator<Item = &'a FlowPair> {
        let is_own =
            |pair: &FlowPair| pair.source.namespace.as_ref().is_some_and(|it| own.contains(it));
        self.plaintext().filter(move |pair| !is_own(pair))
    }
}

/// `<source> to <destination>`, each as `<namespace>/<workload>`.
impl fmt::Display for FlowPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.source, self.destination)
    }
}

impl FlowPair {
    fn empty(flow: &Flow) -> Self {
        Self {
            source: flow.source.clone(),
            destination: flow.destination.clone(),
            security: flow.security,
            opened_before: 0,
            opened: 0,
            denied: 0,
            rate_per_second: 0.0,
            first_seen: flow.first_seen,
            last_seen: None,
            nodes: BTreeSet::new(),
        }
    }

    fn add(&mut self, flow: &Flow) {
        self.opened_before = self.opened_before.saturating_add(flow.opened_before);
        self.opened = self.opened.saturating_add(flow.opened);
        self.denied = self.denied.saturating_add(flow.denied);
        self.rate_per_second += flow.rate_per_second;
        self.first_seen = self.first_seen.min(flow.first_seen);
        self.last_seen = self.last_seen.max(flow.last_seen);
        self.nodes.insert(flow.node.clone());
    }

    /// All connections that are known of, those before the first looks included.
    pub fn total(&self) -> u64 {
        self.opened_before.saturating_add(self.opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).expect("a time")
    }

    fn flow(node: &str, source: Option<&str>, security: FlowSecurity) -> Flow {
        Flow {
            node: node.to_owned(),
            source: FlowSource {
                workload: source.map(str::to_owned),
                namespace: source.map(|_| "ingress".to_owned()),
                principal: None,
            },
            destination: FlowDestination {
                workload: Some("mirai-frontend".to_owned()),
                namespace: Some("default".to_owned()),
                ..FlowDestination::default()
            },
            security,
            opened_before: 10,
            opened: 4,
            denied: 1,
            rate_per_second: 0.25,
            first_seen: at(100),
            last_seen: Some(at(200)),
        }
    }

    fn telling(node: &str, flows: Vec<Flow>) -> NodeFlows {
        NodeFlows {
            node: node.to_owned(),
            ztunnel: None,
            flows,
            dropped_plaintext: 2,
            dropped_mutual_tls: 0,
        }
    }

    #[test]
    fn a_pair_on_two_nodes_is_one_with_both_rates() {
        let early = Flow {
            first_seen: at(50),
            last_seen: None,
            ..flow("a", Some("cloudflared"), FlowSecurity::Plaintext)
        };
        let late = flow("b", Some("cloudflared"), FlowSecurity::Plaintext);
        let told = [telling("b", vec![late]), telling("a", vec![early])];
        let ages = [Duration::from_secs(1), Duration::from_secs(2)];
        let fleet = FleetFlows::of(told.iter().zip(ages));
        let [pair] = fleet.pairs.as_slice() else { panic!("{fleet:?}") };
        assert_eq!((pair.opened_before, pair.opened, pair.denied), (20, 8, 2));
        assert_eq!((pair.rate_per_second, pair.total()), (0.5, 28));
        assert_eq!((pair.first_seen, pair.last_seen), (at(50), Some(at(200))));
        assert_eq!(pair.nodes.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(pair.to_string(), "ingress/cloudflared to default/mirai-frontend");
        let standing: Vec<_> =
            fleet.nodes.iter().map(|it| (it.node.as_str(), it.age_seconds)).collect();
        assert_eq!(standing, [("a", 2.0), ("b", 1.0)]);
    }

    #[test]
    fn other_sources_and_other_security_are_other_pairs() {
        let flows = vec![
            flow("a", Some("cloudflared"), FlowSecurity::Plaintext),
            flow("a", None, FlowSecurity::Plaintext),
            flow("a", None, FlowSecurity::MutualTls),
        ];
        let fleet = FleetFlows::of([(&telling("a", flows), Duration::ZERO)]);
        assert_eq!(fleet.pairs.len(), 3);
        assert_eq!(fleet.plaintext().count(), 2);
        let own = BTreeSet::from(["ingress".to_owned()]);
        let of_users: Vec<_> = fleet.plaintext_of_users(&own).collect();
        assert!(matches!(of_users[..], [pair] if pair.source.is_unknown()), "{of_users:?}");
        assert_eq!(of_users[0].to_string(), "unknown to default/mirai-frontend");
        assert_eq!(fleet.clone().into_namespace("default").pairs.len(), 3);
        let elsewhere = fleet.into_namespace("kube-system");
        assert_eq!((elsewhere.pairs.len(), elsewhere.nodes.len()), (0, 1));
    }

    #[test]
    fn a_fleet_reads_back_as_written() {
        let flows = vec![flow("a", Some("cloudflared"), FlowSecurity::Plaintext)];
        let fleet = FleetFlows::of([(&telling("a", flows), Duration::ZERO)]);
        let text = serde_json::to_string(&fleet).expect("it has a form");
        assert_eq!(serde_json::from_str::<FleetFlows>(&text).expect("a fleet"), fleet);
    }

    #[test]
    fn what_a_newer_agent_adds_and_what_an_older_one_leaves_out_break_nothing() {
        let text = r#"{"node":"a","new":1,"flows":[{"node":"a","destination":{"shoe_size":43},
            "security":"plaintext","first_seen":"2026-01-01T00:00:00Z"}]}"#;
        let told: NodeFlows = serde_json::from_str(text).expect("a telling");
        assert_eq!((told.flows[0].last_seen, told.flows[0].total()), (None, 0));
        assert!(told.flows[0].source.is_unknown());
    }
}

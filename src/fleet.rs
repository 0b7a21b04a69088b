//! What each agent of a fleet is told: from a cluster and a user's settings to plans.
//!
//! The rows are those of the truth table: the same target, from the same node, through different
//! parts of the mesh, each with what must come back. Pure: touches no network and no clock, and
//! the same cluster gives the same bytes. Knows neither how a cluster is read nor how plans travel.
//!
//! Not probed: an agent's own pod and node (what leaves a pod for itself is not intercepted), pods
//! that are not ready, and what cannot be judged ([`Fleet::unknown`]).

mod answer;
mod budget;
mod control_plane;
mod document;
mod name;
mod peers;
mod services;
mod settings;
mod unknown;

pub use document::{Body, Csr, Defaults, Document, Peer, Plan, Question, Target, VERSION};
pub use settings::{Budgets, MOST_ENDPOINTS, MOST_FULL_MESH, MOST_PEERS, Settings};
pub use unknown::{Unknown, UnknownReason};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::cluster::mtls::Policies;
use crate::cluster::{Agent, Cluster, ObjectRef};
use crate::target::{TargetName, Vantage};
use crate::topology::{Topology, score};
use control_plane::{Asker, Rates};
use peers::{Asked, Peers};
use services::{Called, Services};

/// The port on which agents answer whoever may call them.
pub const RESPONDER_PORT: u16 = 9851;
/// The port on which agents in the mesh deny plaintext.
pub const CANARY_PORT: u16 = 9852;

/// All plans of one cluster, ready to be asked for one by one.
#[derive(Debug)]
pub struct Fleet {
    cluster: Arc<Cluster>,
    settings: Settings,
    defaults: Defaults,
    topology: Topology,
    /// Agents by name of their pods, and their places in the order in which budgets are spent.
    agents: HashMap<String, Vec<(usize, usize)>>,
    controllers: Vec<SocketAddr>,
    nodes: BTreeMap<String, Asked>,
    services: Vec<Called>,
    rates: Rates,
    unknown: Vec<Unknown>,
}

impl Fleet {
    /// Builds what all plans have in common; values of `settings` out of range count as the
    /// nearest that is in it.
    ///
    /// Peers are those of the nodes that have an agent, ready or not, so that a restart moves no
    /// edge.
    pub fn new(cluster: Arc<Cluster>, settings: Settings) -> Self {
        let settings = settings.in_range();
        let defaults = Defaults {
            interval: settings.interval,
            timeout: settings.timeout,
            max_in_flight: settings.max_in_flight(),
        };
        let peopled = cluster.agents.iter().map(|agent| {
            let node = cluster.nodes.get(&agent.pod.node);
            (agent.pod.node.as_str(), node.and_then(|node| node.zone.as_deref()))
        });
        let topology = Topology::new(peopled, settings.full_mesh_up_to, settings.peers);
        let policies = cluster.peer_authentications.as_ref();
        let policies = policies.map(|list| Policies::new(list, &settings.root_namespace));
        let policies = policies.as_ref();
        let mut unknown = BTreeSet::new();
        let mut peers =
            Peers { settings: &settings, defaults: &defaults, policies, unknown: &mut unknown };
        let nodes = peers.build(&cluster);
        let sides = [Vantage::Ambient, Vantage::Plain];
        let agents = sides.map(|side| cluster.agents.iter().filter(|a| a.vantage == side).count());
        let mut services =
            Services { settings: &settings, policies, unknown: &mut unknown, agents };
        let services = services.build(&cluster.services);
        let rates = Rates::new(&settings, &cluster, agents);
        unknown.extend(unaffordable(&rates, agents.iter().sum()));
        Self {
            controllers: BTreeSet::from_iter(cluster.controllers.iter().copied())
                .into_iter()
                .collect(),
            agents: ranked(&cluster.agents),
            unknown: unknown.into_iter().collect(),
            cluster,
            settings,
            defaults,
            topology,
            nodes,
            services,
            rates,
        }
    }

    /// The agent whose pod is `pod`, on `node` and on the side `vantage`.
    pub fn agent(&self, node: &str, vantage: Vantage, pod: &str) -> Option<&Agent> {
        let named = self.agents.get(pod).into_iter().flatten();
        let mut named = named.map(|(at, _)| &self.cluster.agents[*at]);
        named.find(|agent| agent.pod.node == node && agent.vantage == vantage)
    }

    /// The plan of `agent`, which must be one of the cluster's to be given a share of budgets.
    pub fn plan(&self, agent: &Agent) -> Plan {
        let mut targets: BTreeMap<TargetName, Target> = BTreeMap::new();
        let mut add = |target: Target| {
            targets.entry(target.name.clone()).or_insert(target);
        };
        let rank = self.rank(agent);
        let Self { settings, defaults, rates, .. } = self;
        Asker { settings, defaults, rates, agent, rank }.targets(&self.cluster, &mut add);
        let mut first = agent.vantage == Vantage::Ambient;
        for asked in self.topology.peers(&agent.pod.node).filter_map(|peer| self.nodes.get(peer)) {
            let rows = match agent.vantage {
                Vantage::Ambient => &asked.by_ambient,
                Vantage::Plain => &asked.by_plain,
            };
            rows.iter().cloned().for_each(&mut add);
            if first && !asked.by_first.is_empty() {
                asked.by_first.iter().cloned().for_each(&mut add);
                first = false;
            }
        }
        for service in &self.services {
            for (target, every) in service.targets(agent, rank, settings.endpoints_per_service) {
                add(target.clone().every(every, defaults));
            }
        }
        Plan::new(Body {
            node: agent.pod.node.clone(),
            vantage: agent.vantage,
            pod: agent.pod.name.clone(),
            grace_seconds: settings.grace.as_secs(),
            controllers: self.controllers.clone(),
            config: Document {
                defaults: defaults.clone(),
                modules: BTreeMap::new(),
                targets: targets.into_values().collect(),
            },
        })
    }

    /// The plans of all agents, in the order of the cluster's list.
    pub fn plans(&self) -> impl Iterator<Item = Plan> {
        self.cluster.agents.iter().map(|agent| self.plan(agent))
    }

    /// What is not probed, and why, in the order of the objects.
    pub fn unknown(&self) -> &[Unknown] {
        &self.unknown
    }

    /// Where controllers take the control channel, sorted.
    pub fn controllers(&self) -> &[SocketAddr] {
        &self.controllers
    }

    /// Which nodes probe which.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    fn rank(&self, agent: &Agent) -> usize {
        let named = self.agents.get(&agent.pod.name).into_iter().flatten();
        let mut same = named.filter(|(at, _)| {
            let other = &self.cluster.agents[*at];
            other.pod.namespace == agent.pod.namespace && other.vantage == agent.vantage
        });
        same.next().map_or(usize::MAX, |(_, rank)| *rank)
    }
}

/// Agents in the order of a hash, so that who goes without when a budget is short is no pattern.
fn ranked(agents: &[Agent]) -> HashMap<String, Vec<(usize, usize)>> {
    let key = |at: &usize| {
        let pod = &agents[*at].pod;
        (score(&[&pod.namespace, &pod.name]), &pod.namespace, &pod.name)
    };
    let mut order: Vec<usize> = (0..agents.len()).collect();
    order.sort_by_cached_key(key);
    let mut found: HashMap<String, Vec<(usize, usize)>> = HashMap::with_capacity(agents.len());
    for (rank, at) in order.into_iter().enumerate() {
        found.entry(agents[at].pod.name.clone()).or_default().push((at, rank));
    }
    found
}

/// Parts of the control plane that not every agent can ask.
fn unaffordable(rates: &Rates, agents: usize) -> impl Iterator<Item = Unknown> {
    let last = agents.saturating_sub(1);
    let [xds, names] = rates.ladders;
    let parts = [
        ("istiod", "xds_per_second", xds),
        ("istiod", "dns_per_second", names),
        ("istiod", "csr_per_second", rates.csr),
        ("coredns", "dns_per_second", rates.dns),
    ];
    let short = parts.into_iter().filter(move |(_, _, share)| share.interval(last).is_none());
    short.filter(move |_| agents > 0).map(|(name, budget, _)| Unknown {
        object: ObjectRef {
            kind: "ControlPlane".to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
            uid: None,
        },
        vantage: None,
        reason: UnknownReason::NoBudget,
        message: format!("{name}: not every agent can ask it within {budget}: raise it"),
    })
}

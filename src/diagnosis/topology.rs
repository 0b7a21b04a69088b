//! The cluster as far as blame needs it: nodes and zones, the pods of CoreDNS and istiod, services.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What is where. Unknown fields are passed over; what is not listed is simply not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// Every node.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// CoreDNS replicas.
    #[serde(default)]
    pub coredns: Vec<Replica>,
    /// istiod replicas.
    #[serde(default)]
    pub istiod: Vec<Replica>,
    /// Services that are probed.
    #[serde(default)]
    pub services: Vec<Service>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// A pod of a control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replica {
    /// Its name.
    pub pod: String,
    /// Its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether its pods are in the mesh.
    #[serde(default)]
    pub ambient: bool,
    /// Its effective mTLS mode, in words; not needed to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Its pods.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// A pod behind a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its node.
    pub node: String,
}

/// Names as numbers: what inference works with.
#[derive(Debug)]
pub(super) struct Index {
    nodes: Vec<String>,
    by_node: BTreeMap<String, u32>,
    zones: Vec<String>,
    zone_of: Vec<Option<u32>>,
    pub(super) coredns: Vec<(String, Option<u32>)>,
    pub(super) istiod: Vec<(String, Option<u32>)>,
    pub(super) services: Vec<Indexed>,
    by_service: BTreeMap<String, u32>,
}

/// A service in numbers.
#[derive(Debug)]
pub(super) struct Indexed {
    /// `<namespace>/<name>`.
    pub(super) name: String,
    pub(super) ambient: bool,
    /// Nodes of its pods, one entry per pod.
    pub(super) nodes: Vec<u32>,
}

impl Index {
    /// The index of `topology` and of the nodes that `others` name beside it.
    pub(super) fn new<'a>(topology: &'a Topology, others: impl Iterator<Item = &'a str>) -> Self {
        let names: BTreeSet<&str> =
            topology.nodes.iter().map(|node| node.name.as_str()).chain(others).collect();
        let nodes: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let by_node = numbered(nodes.iter());
        let zones: BTreeSet<&str> =
            topology.nodes.iter().filter_map(|node| node.zone.as_deref()).collect();
        let zones: Vec<String> = zones.into_iter().map(str::to_owned).collect();
        let by_zone = numbered(zones.iter());
        let mut zone_of = vec![None; nodes.len()];
        for node in &topology.nodes {
            zone_of[by_node[&node.name] as usize] = node.zone.as_ref().map(|zone| by_zone[zone]);
        }
        let place = |replica: &Replica| {
            let node = replica.node.as_ref().and_then(|node| by_node.get(node).copied());
            (replica.pod.clone(), node)
        };
        let (coredns, istiod) = (
            topology.coredns.iter().map(place).collect(),
            topology.istiod.iter().map(place).collect(),
        );
        let mut services = Vec::new();
        for service in &topology.services {
            let nodes = service.endpoints.iter();
            services.push(Indexed {
                name: format!("{}/{}", service.namespace, service.name),
                ambient: service.ambient,
                nodes: nodes.filter_map(|it| by_node.get(&it.node).copied()).collect(),
            });
        }
        let by_service = numbered(services.iter().map(|service| &service.name));
        Self { nodes, by_node, zones, zone_of, coredns, istiod, services, by_service }
    }

    pub(super) fn node(&self, name: &str) -> Option<u32> {
        self.by_node.get(name).copied()
    }

    pub(super) fn node_name(&self, node: u32) -> &str {
        &self.nodes[node as usize]
    }

    pub(super) fn zone(&self, node: u32) -> Option<u32> {
        self.zone_of[node as usize]
    }

    pub(super) fn zone_name(&self, zone: u32) -> &str {
        &self.zones[zone as usize]
    }

    /// The service `<namespace>/<name>`; one that the topology does not list is not known.
    pub(super) fn service(&self, name: &str) -> Option<u32> {
        self.by_service.get(name).copied()
    }
}

fn numbered<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<String, u32> {
    names.zip(0..).map(|(name, number)| (name.clone(), number)).collect()
}

//! What a cluster is made of, as far as a diagnosis needs to know: the format of
//! `--topology`. Knows neither where it was read nor who probes whom.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::target::Vantage;

/// The most nodes, pods of each kind, services and agents that are taken.
pub const MOST: usize = 50_000;

/// The parts of a cluster. Fields that this version does not know are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// CoreDNS's pods.
    #[serde(default)]
    pub coredns: Vec<Pod>,
    /// istiod's pods.
    #[serde(default)]
    pub istiod: Vec<Pod>,
    /// Services that are probed.
    #[serde(default)]
    pub services: Vec<Service>,
    /// The agents that there are. Without it, those that were heard tell where others should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<Agent>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its zone, when it has one.
    #[serde(default)]
    pub zone: Option<String>,
}

/// A pod of the control plane or of CoreDNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub pod: String,
    /// Its node, when it has one.
    #[serde(default)]
    pub node: Option<String>,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether its pods are in the mesh.
    #[serde(default)]
    pub ambient: bool,
    /// The mTLS mode that is in force, such as `STRICT`.
    #[serde(default)]
    pub mode: Option<String>,
    /// Where its pods are.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// One pod behind a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its node, when it is known.
    #[serde(default)]
    pub node: Option<String>,
}

/// An agent that is to be heard of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Agent {
    /// Its node.
    pub node: String,
    /// Its side of the mesh.
    pub vantage: Vantage,
}

/// Why a text is no topology.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTopology {
    /// It is not of the format.
    #[error("not a topology: {0}; write {{\"nodes\":[{{\"name\",\"zone\"}}],\"coredns\":[…],…}}")]
    Json(serde_json::Error),
    /// A list is too long.
    #[error("{list}: {count} entries, at most {MOST} are taken")]
    TooMany {
        /// Its key.
        list: &'static str,
        /// Its length.
        count: usize,
    },
    /// A node is there twice.
    #[error("nodes: `{0}` is there twice; name each node once")]
    Twice(String),
}

impl Topology {
    /// Reads the JSON of a topology.
    pub fn read(json: &[u8]) -> Result<Self, InvalidTopology> {
        let read: Self = serde_json::from_slice(json).map_err(InvalidTopology::Json)?;
        for (list, count) in [
            ("nodes", read.nodes.len()),
            ("coredns", read.coredns.len()),
            ("istiod", read.istiod.len()),
            ("services", read.services.len()),
            ("agents", read.agents.len()),
        ] {
            if count > MOST {
                return Err(InvalidTopology::TooMany { list, count });
            }
        }
        let mut names = BTreeSet::new();
        match read.nodes.iter().find(|node| !names.insert(&node.name)) {
            Some(twice) => Err(InvalidTopology::Twice(twice.name.clone())),
            None => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_is_read_and_what_is_unknown_in_it_ignored() {
        let read = Topology::read(
            br#"{"nodes":[{"name":"a","zone":"z","cpu":4},{"name":"b","zone":null}],
                "coredns":[{"pod":"dns-1","node":"a"}],"istiod":[{"pod":"istiod-1","node":"b"}],
                "services":[{"namespace":"default","name":"web","ambient":true,"mode":"STRICT",
                "endpoints":[{"node":"a"}]}],"weather":"fine"}"#,
        )
        .expect("a topology");
        assert_eq!(read.nodes[0].zone.as_deref(), Some("z"));
        assert_eq!(read.services[0].endpoints[0].node.as_deref(), Some("a"));
    }

    #[test]
    fn a_wrong_topology_says_what_is_wrong() {
        for (json, part) in [
            (&b"[1]"[..], "not a topology"),
            (b"[]", "not a topology"),
            (br#"{"node":[]}"#, "missing field `nodes`"),
            (br#"{"nodes":[{"zone":"a"}]}"#, "missing field `name`"),
            (br#"{"nodes":[{"name":"a"},{"name":"a"}]}"#, "`a` is there twice"),
        ] {
            let error = Topology::read(json).expect_err("wrong").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

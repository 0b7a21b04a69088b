//! What is looked for in a cluster, and how much of it is taken.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cluster::Labels;

/// Everything that discovery is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where the agents of the ambient vantage are.
    pub ambient_namespace: String,
    /// Where the agents of the plain vantage and the controllers are.
    pub plain_namespace: String,
    /// Where Services are looked for, besides those of [`Choice::Service`]; empty means everywhere.
    pub namespaces: Vec<String>,
    /// Services that are called although their annotation does not ask for it.
    pub services: Vec<Selection>,
    /// Namespaces whose pods are watched although none of their Services is called.
    pub pods_of: Vec<String>,
    /// Where ztunnel and istio-cni are.
    pub istio_namespace: String,
    /// istiod's Service; its port 15012 is meant.
    pub istiod: Name,
    /// CoreDNS's Service; its port 53 is meant.
    pub coredns: Name,
    /// How much is taken.
    pub limits: Limits,
}

/// The name of a namespaced object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An entry of the configuration that chooses Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Where it stands, for messages: `services[2]`.
    pub origin: String,
    /// Which Services.
    pub choice: Choice,
    /// Which ports of them; empty means every TCP port.
    pub ports: Vec<PortRef>,
    /// What is requested; `None` leaves it to the Service's annotation.
    pub path: Option<String>,
}

/// Which Services an entry chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This one: it has to exist.
    Service(Name),
    /// All of a namespace.
    Namespace(String),
    /// Those with all of these labels (`matchLabels`), of one namespace or of all.
    Labels {
        /// The only namespace.
        namespace: Option<String>,
        /// The labels; none match nothing.
        labels: Labels,
    },
}

/// A port of a Service as people write it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortRef {
    /// By number, not zero.
    Number(u16),
    /// By name.
    Name(String),
}

/// Bounds. What is beyond them is left out and told as `TooMany`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Ports of Services that are called, all together.
    pub services: usize,
    /// Namespaces whose Services are called: each costs two watches.
    pub namespaces: usize,
    /// Endpoints that are called behind one port.
    pub endpoints: usize,
    /// Findings that are told.
    pub findings: usize,
    /// Objects in one page of a list.
    pub page: u32,
    /// The longest wait between two tries of a watch that fails.
    pub retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 200,
            namespaces: 50,
            endpoints: 20,
            findings: 500,
            page: 250,
            retry: Duration::from_secs(30),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ambient_namespace: "meshprobe-ambient".to_owned(),
            plain_namespace: "meshprobe-plain".to_owned(),
            namespaces: Vec::new(),
            services: Vec::new(),
            pods_of: Vec::new(),
            istio_namespace: "istio-system".to_owned(),
            istiod: Name::new("istio-system", "istiod"),
            coredns: Name::new("kube-system", "kube-dns"),
            limits: Limits::default(),
        }
    }
}

impl Name {
    /// `name` in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl Settings {
    /// The namespaces whose Services are watched; `None` is the whole cluster.
    pub(super) fn scopes(&self) -> Vec<Option<String>> {
        if self.namespaces.is_empty() {
            return vec![None];
        }
        let named = self.services.iter().filter_map(|selection| match &selection.choice {
            Choice::Service(name) => Some(&name.namespace),
            Choice::Namespace(namespace) => Some(namespace),
            Choice::Labels { namespace, .. } => namespace.as_ref(),
        });
        let all: BTreeSet<&String> = self.namespaces.iter().chain(named).collect();
        all.into_iter().cloned().map(Some).collect()
    }
}

impl Choice {
    /// Whether it is this Service.
    pub(super) fn matches(&self, namespace: &str, name: &str, labels: &Labels) -> bool {
        match self {
            Self::Service(wanted) => wanted.namespace == namespace && wanted.name == name,
            Self::Namespace(wanted) => wanted == namespace,
            Self::Labels { namespace: only, labels: wanted } => {
                only.as_ref().is_none_or(|only| only == namespace)
                    && !wanted.is_empty()
                    && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
            }
        }
    }
}

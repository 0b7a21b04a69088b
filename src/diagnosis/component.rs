//! What can be blamed, and for what: the words of a diagnosis. Components are numbers into a
//! [`Names`], so that half a million paths can name them.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diagnosis::topology::Topology;

/// A part that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Component {
    /// A node's ztunnel.
    Ztunnel(u32),
    /// Port 15008 of a node's ambient pods.
    Hbone(u32),
    /// The redirection in a node's ambient pods.
    Capture(u32),
    /// A node.
    Node(u32),
    /// What lies between two zones, the smaller number first.
    Zone(u32, u32),
    /// A CoreDNS pod.
    CorednsPod(u32),
    /// All of CoreDNS.
    Coredns,
    /// An istiod pod.
    IstiodPod(u32),
    /// All of istiod.
    Istiod,
    /// One node's way to istiod.
    IstiodLink(u32),
    /// The ambient pods that are probed on a node.
    Peer(u32),
    /// What is behind a Service.
    Service(u32),
    /// A target that no topology knows.
    Target(u32),
    /// A policy on the ambient pods of a node.
    PeerPolicy(u32),
    /// A policy on the probed ambient pods of all nodes.
    PeersPolicy,
    /// A policy on a Service's pods.
    ServicePolicy(u32),
    /// What a node's certificates lead to.
    Trust(u32),
}

/// How it is broken: the finer kinds that signatures tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// A ztunnel is gone.
    Dead,
    /// CoreDNS or istiod, or a pod of theirs, does not answer.
    Down,
    /// A node does not get to istiod.
    Cut,
    /// istiod describes the pods of a node otherwise than they are.
    Misdescribed,
    /// ztunnel runs, its sockets in the pods are missing.
    Listeners,
    /// It accepts and says nothing.
    Frozen,
    /// It has no valid certificate.
    NoCertificate,
    /// It does not know its own pods.
    StaleXds,
    /// Its captured DNS answers otherwise than CoreDNS.
    DnsProxy,
    /// It fails now and then.
    Gray,
    /// Port 15008 is dropped.
    Blocked,
    /// Pods are not redirected.
    Lost,
    /// Packets do not come through.
    Unreachable,
    /// Large packets do not come through.
    LargeLost,
    /// It answers wrongly.
    Wrong,
    /// Nothing listens behind a Service's port.
    Closed,
    /// Nothing listens behind the probed port of the ambient pods of a node.
    PortClosed,
    /// The addresses answer no more.
    Gone,
    /// Others answer at the addresses.
    Replaced,
    /// A policy denies what it is to let pass.
    Denies,
    /// A policy denies plaintext that is to pass.
    Strict,
    /// A policy lets pass what it is to deny.
    Gap,
    /// Certificates lead to another root.
    Disagree,
}

/// The word for a fault in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/diagnosis.md says what each word means")]
pub enum FaultWord {
    Dead,
    Frozen,
    NoCertificate,
    StaleXds,
    Gray,
    Blocked,
    Lost,
    Unreachable,
    Partitioned,
    Broken,
    Denies,
    Gap,
    Disagree,
    Silent,
    Starved,
}

impl FaultWord {
    /// The word as JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Frozen => "frozen",
            Self::NoCertificate => "no_certificate",
            Self::StaleXds => "stale_xds",
            Self::Gray => "gray",
            Self::Blocked => "blocked",
            Self::Lost => "lost",
            Self::Unreachable => "unreachable",
            Self::Partitioned => "partitioned",
            Self::Broken => "broken",
            Self::Denies => "denies",
            Self::Gap => "gap",
            Self::Disagree => "disagree",
            Self::Silent => "silent",
            Self::Starved => "starved",
        }
    }
}

impl fmt::Display for FaultWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From this share of failing attempts on a fault is hard, below it is gray.
const HARD: f64 = 0.8;

impl Component {
    /// The kinds of fault that it can have.
    pub(super) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Ztunnel(_) => &[
                Kind::Dead,
                Kind::Listeners,
                Kind::Frozen,
                Kind::NoCertificate,
                Kind::StaleXds,
                Kind::DnsProxy,
                Kind::Gray,
            ],
            Self::Hbone(_) => &[Kind::Blocked],
            Self::Capture(_) => &[Kind::Lost],
            Self::Node(_) => &[Kind::Unreachable, Kind::LargeLost],
            Self::Zone(_, _) => &[Kind::Unreachable],
            Self::CorednsPod(_) | Self::Coredns => &[Kind::Down, Kind::Wrong, Kind::Gray],
            Self::IstiodPod(_) | Self::Istiod => &[Kind::Down, Kind::Wrong],
            Self::IstiodLink(_) => &[Kind::Cut, Kind::Misdescribed],
            Self::Peer(_) => &[Kind::PortClosed, Kind::Gone, Kind::Replaced],
            Self::Service(_) => &[Kind::Closed, Kind::Gone, Kind::Wrong],
            Self::Target(_) => &[Kind::Gone, Kind::Wrong],
            Self::PeerPolicy(_) | Self::PeersPolicy | Self::ServicePolicy(_) => {
                &[Kind::Denies, Kind::Strict, Kind::Gap]
            }
            Self::Trust(_) => &[Kind::Disagree],
        }
    }

    /// The word for `kind` when the share `rate` of the attempts fails by it.
    pub(super) fn word(self, kind: Kind, rate: f64) -> FaultWord {
        let gray = rate < HARD;
        match (self, kind) {
            (Self::Capture(_), _) => FaultWord::Lost,
            (Self::Hbone(_), _) => FaultWord::Blocked,
            (Self::Trust(_), _) => FaultWord::Disagree,
            (_, Kind::Denies | Kind::Strict) => FaultWord::Denies,
            (_, Kind::Gap) => FaultWord::Gap,
            (_, Kind::NoCertificate) => FaultWord::NoCertificate,
            (
                _,
                Kind::LargeLost | Kind::Wrong | Kind::Misdescribed | Kind::DnsProxy | Kind::Gray,
            ) => FaultWord::Gray,
            (_, _) if gray => FaultWord::Gray,
            (Self::Zone(_, _), _) => FaultWord::Partitioned,
            (Self::Node(_), _) => FaultWord::Unreachable,
            (Self::IstiodLink(_), _) => FaultWord::Broken,
            (_, Kind::Frozen) => FaultWord::Frozen,
            (_, Kind::StaleXds) => FaultWord::StaleXds,
            (_, _) => FaultWord::Dead,
        }
    }
}

/// Text with a number, both ways.
#[derive(Debug, Default)]
pub(super) struct Interned {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Interned {
    /// The number of `text`, a new one when it has none.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        number
    }

    pub(super) fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }
}

/// A Service as paths need it.
#[derive(Debug, Clone, Default)]
pub(super) struct Backend {
    /// Whether its pods are in the mesh.
    pub(super) ambient: bool,
    /// Nodes of its pods.
    pub(super) nodes: Vec<u32>,
}

/// Every name of a cluster by number, and what belongs to what.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) nodes: Interned,
    pub(super) zones: Interned,
    pub(super) coredns: Interned,
    pub(super) istiod: Interned,
    /// `<ns>/<name>`.
    pub(super) services: Interned,
    pub(super) targets: Interned,
    /// Names of the targets that climb to istiod.
    pub(super) ladders: Interned,
    /// Zones by node.
    pub(super) zone_of: Vec<Option<u32>>,
    /// Nodes by CoreDNS pod.
    pub(super) coredns_nodes: Vec<Option<u32>>,
    /// Nodes by istiod pod.
    pub(super) istiod_nodes: Vec<Option<u32>>,
    /// Whether an istiod pod is asked by itself.
    pub(super) istiod_asked: bool,
    /// By Service.
    pub(super) backends: Vec<Backend>,
}

impl Names {
    pub(super) fn new(topology: &Topology) -> Self {
        let mut names = Self::default();
        for node in &topology.nodes {
            let number = names.node(&node.name);
            names.zone_of[number as usize] = node
                .zone
                .as_deref()
                .filter(|zone| !zone.is_empty())
                .map(|zone| names.zones.number(zone));
        }
        for pod in &topology.coredns {
            let node = pod.node.as_deref().map(|node| names.node(node));
            let number = names.coredns_pod(&pod.pod);
            names.coredns_nodes[number as usize] = node;
        }
        for pod in &topology.istiod {
            let node = pod.node.as_deref().map(|node| names.node(node));
            let number = names.istiod_pod(&pod.pod);
            names.istiod_nodes[number as usize] = node;
        }
        for service in &topology.services {
            let number = names.service(&format!("{}/{}", service.namespace, service.name));
            let nodes = service.endpoints.iter().filter_map(|endpoint| endpoint.node.as_deref());
            let mut nodes: Vec<u32> = nodes.map(|node| names.node(node)).collect();
            nodes.sort_unstable();
            nodes.dedup();
            names.backends[number as usize] = Backend { ambient: service.ambient, nodes };
        }
        names
    }

    pub(super) fn node(&mut self, name: &str) -> u32 {
        let number = self.nodes.number(name);
        self.zone_of.resize(self.nodes.len(), None);
        number
    }

    pub(super) fn coredns_pod(&mut self, pod: &str) -> u32 {
        let number = self.coredns.number(pod);
        self.coredns_nodes.resize(self.coredns.len(), None);
        number
    }

    pub(super) fn istiod_pod(&mut self, pod: &str) -> u32 {
        let number = self.istiod.number(pod);
        self.istiod_nodes.resize(self.istiod.len(), None);
        number
    }

    pub(super) fn service(&mut self, name: &str) -> u32 {
        let number = self.services.number(name);
        self.backends.resize(self.services.len(), Backend::default());
        number
    }

    /// How many components there can be.
    pub(super) fn components(&self) -> usize {
        let zones = self.zones.len();
        8 * self.nodes.len()
            + zones * zones.saturating_sub(1) / 2
            + self.coredns.len()
            + self.istiod.len()
            + 2 * self.services.len()
            + self.targets.len()
            + 3
    }

    /// The name of `component` as the design writes it.
    pub(super) fn name(&self, component: Component) -> String {
        let node = |number| self.nodes.text(number);
        match component {
            Component::Ztunnel(n) => format!("ztunnel/{}", node(n)),
            Component::Hbone(n) => format!("hbone/{}", node(n)),
            Component::Capture(n) => format!("capture/{}", node(n)),
            Component::Node(n) => format!("node/{}", node(n)),
            Component::Zone(a, b) => {
                let mut pair = [self.zones.text(a), self.zones.text(b)];
                pair.sort_unstable();
                format!("zone/{}/{}", pair[0], pair[1])
            }
            Component::CorednsPod(pod) => format!("coredns/{}", self.coredns.text(pod)),
            Component::Coredns => "coredns".to_owned(),
            Component::IstiodPod(pod) => format!("istiod/{}", self.istiod.text(pod)),
            Component::Istiod => "istiod".to_owned(),
            Component::IstiodLink(n) => format!("istiod-link/{}", node(n)),
            Component::Peer(n) => format!("workload/meshprobe/peer-{}", node(n)),
            Component::Service(s) => format!("workload/{}", self.services.text(s)),
            Component::Target(t) => format!("workload/meshprobe/{}", self.targets.text(t)),
            Component::PeerPolicy(n) => format!("policy/meshprobe/peer-{}", node(n)),
            Component::PeersPolicy => "policy/meshprobe/peer".to_owned(),
            Component::ServicePolicy(s) => format!("policy/{}", self.services.text(s)),
            Component::Trust(n) => format!("trust/{}", node(n)),
        }
    }
}

//! The nine checks, and which observations each of them reads.

use serde::{Deserialize, Serialize};

use crate::observation::Observation;
use crate::target::ProbeKind;

/// One of the things that must hold before STRICT is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// ztunnel is ready and stable on every node.
    Ztunnel,
    /// Every node reaches istiod: the ladder.
    Istiod,
    /// CoreDNS answers, each replica of it.
    Coredns,
    /// The cells of the truth table are met.
    Connectivity,
    /// The STRICT canary answers the mesh and denies plaintext.
    Canary,
    /// What is labelled is captured.
    Capture,
    /// Nobody calls in plaintext.
    Plaintext,
    /// Certificates are valid and verified everywhere.
    Certificates,
    /// Which policies are in force already, and enforced.
    Policies,
}

impl Check {
    /// Every check, in the order of a report.
    pub const ALL: [Self; 9] = [
        Self::Ztunnel,
        Self::Istiod,
        Self::Coredns,
        Self::Connectivity,
        Self::Canary,
        Self::Capture,
        Self::Plaintext,
        Self::Certificates,
        Self::Policies,
    ];

    /// The word of JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ztunnel => "ztunnel",
            Self::Istiod => "istiod",
            Self::Coredns => "coredns",
            Self::Connectivity => "connectivity",
            Self::Canary => "canary",
            Self::Capture => "capture",
            Self::Plaintext => "plaintext",
            Self::Certificates => "certificates",
            Self::Policies => "policies",
        }
    }

    /// What must hold, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ztunnel => "ztunnel is ready and stable on every node",
            Self::Istiod => "every node reaches istiod",
            Self::Coredns => "CoreDNS answers, each replica of it",
            Self::Connectivity => "the mesh connects as the truth table says",
            Self::Canary => "the STRICT canary answers the mesh and denies plaintext",
            Self::Capture => "every pod that is labelled is captured",
            Self::Plaintext => "nobody would break: no plaintext callers",
            Self::Certificates => "certificates are valid, and trusted on all nodes",
            Self::Policies => "policies in force leave nothing open, and are enforced",
        }
    }

    /// Where to look, or what to do, when it does not hold.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Ztunnel => {
                "kubectl -n istio-system get pods -l app=ztunnel -o wide; its log says why"
            }
            Self::Istiod => {
                "meshprobe check tells the rung that breaks; look at istiod, CoreDNS and \
                 NetworkPolicies for port 15012"
            }
            Self::Coredns => "kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide",
            Self::Connectivity => "meshprobe check --node NODE tells each target and its reason",
            Self::Canary => {
                "meshprobe's own PeerAuthentication must keep the canary port STRICT; a reply in \
                 plaintext means that ztunnel does not enforce it"
            }
            Self::Capture => {
                "restart the pod, or ztunnel's and istio-cni's on its node: istio-cni annotates \
                 what it captured with ambient.istio.io/redirection"
            }
            Self::Plaintext => {
                "enrol each caller (label its namespace istio.io/dataplane-mode=ambient), or keep \
                 its port open by a PeerAuthentication with selector and portLevelMtls"
            }
            Self::Certificates => {
                "compare the ConfigMap istio-ca-root-cert with istiod's CA; restart the ztunnel \
                 that keeps the old root"
            }
            Self::Policies => {
                "kubectl get peerauthentications -A; the narrower policy and of equal ones the \
                 oldest wins"
            }
        }
    }

    /// Whose check an observation is, and the namespace of the Service that it is of.
    pub(crate) fn of(observation: &Observation) -> Option<(Self, Option<&str>)> {
        let mut words = observation.target.split('/');
        let check = match words.next()? {
            "peer" | "underlay" => Self::Connectivity,
            "service" => return Some((Self::Connectivity, Some(words.next()?))),
            "peer-strict" => Self::Canary,
            "istiod" => Self::Istiod,
            "coredns" => Self::Coredns,
            "certificate" | "own-hbone" => Self::Certificates,
            "capture" => Self::Capture,
            "ztunnel" => Self::Ztunnel,
            _ => return None,
        };
        Some((check, None))
    }
}

/// Whether an observation counts in failure rates.
///
/// Held connections do not: those that live outlast the windows in which they could be counted,
/// and only those that break would be left.
pub(crate) fn counts(observation: &Observation) -> bool {
    observation.probe != ProbeKind::Hold
}

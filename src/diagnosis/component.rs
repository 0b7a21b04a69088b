//! What can be blamed, and for what.

use crate::diagnosis::topology::Index;

/// A part of the cluster whose fault would show on more than one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Component {
    /// The ztunnel of a node.
    Ztunnel(u32),
    /// Port 15008 of a node's pods.
    Hbone(u32),
    /// Redirection on a node.
    Capture(u32),
    /// A node, or its network.
    Node(u32),
    /// The way between two zones, the smaller number first.
    Zone(u32, u32),
    /// A CoreDNS replica.
    CorednsPod(u32),
    /// CoreDNS as a whole.
    Coredns,
    /// An istiod replica.
    IstiodPod(u32),
    /// istiod as a whole.
    Istiod,
    /// One node's way to istiod.
    IstiodLink(u32),
    /// The pods of a service.
    Workload(u32),
    /// The ambient pods of one node, the agent's own first of all.
    NodeWorkload(u32),
    /// Policies of a service.
    Policy(u32),
    /// Policies in force on one node's ambient pods.
    NodePolicy(u32),
    /// Policies of the agents' own namespace.
    PeerPolicy,
    /// What a node trusts, or is trusted by.
    Trust(u32),
}

/// The namespace of the agents in the mesh, which are each other's peers.
const PEERS: &str = "meshprobe-ambient";

impl Component {
    /// Its name in a diagnosis.
    pub(super) fn name(self, index: &Index) -> String {
        let node = |node| index.node_name(node);
        match self {
            Self::Ztunnel(n) => format!("ztunnel/{}", node(n)),
            Self::Hbone(n) => format!("hbone/{}", node(n)),
            Self::Capture(n) => format!("capture/{}", node(n)),
            Self::Node(n) => format!("node/{}", node(n)),
            Self::Zone(a, b) => format!("zone/{}/{}", index.zone_name(a), index.zone_name(b)),
            Self::CorednsPod(pod) => format!("coredns/{}", index.coredns[pod as usize].0),
            Self::Coredns => "coredns".to_owned(),
            Self::IstiodPod(pod) => format!("istiod/{}", index.istiod[pod as usize].0),
            Self::Istiod => "istiod".to_owned(),
            Self::IstiodLink(n) => format!("istiod-link/{}", node(n)),
            Self::Workload(s) => format!("workload/{}", index.services[s as usize].name),
            Self::NodeWorkload(n) => format!("workload/{PEERS}/{}", node(n)),
            Self::Policy(s) => format!("policy/{}", index.services[s as usize].name),
            Self::NodePolicy(n) => format!("policy/{PEERS}/{}", node(n)),
            Self::PeerPolicy => format!("policy/{PEERS}/peers"),
            Self::Trust(n) => format!("trust/{}", node(n)),
        }
    }

    /// The ways in which it can be broken.
    pub(super) fn faults(self) -> &'static [Fault] {
        use Fault::*;
        match self {
            Self::Ztunnel(_) => &[
                ZtunnelDead,
                ZtunnelFrozen,
                NoCertificate,
                NoCertificateOutbound,
                StaleXds,
                StaleXdsOutbound,
                StaleDns,
            ],
            Self::Hbone(_) => &[HboneBlocked],
            Self::Capture(_) => &[CaptureLost, CaptureLostInbound],
            Self::Node(_) => &[NodeUnreachable, NodeMtu],
            Self::Zone(..) => &[ZonePartitioned],
            Self::CorednsPod(_) | Self::Coredns => &[CorednsDead, CorednsFailing],
            Self::IstiodPod(_) | Self::Istiod => {
                &[IstiodDead, IstiodFrozen, IstiodCaDown, IstiodUntrusted]
            }
            Self::IstiodLink(_) => &[LinkBroken, LinkStale],
            Self::Workload(_) => &[WorkloadDead],
            Self::NodeWorkload(_) => &[PortClosed, PodsGone, PodsReplaced],
            Self::Policy(_) | Self::NodePolicy(_) | Self::PeerPolicy => {
                &[PolicyDenies, PolicyDeniesPlaintext, PolicyGap]
            }
            Self::Trust(_) => &[TrustDisagrees, TrustDisagreesAgent],
        }
    }
}

/// A way of being broken, with a signature of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fault {
    ZtunnelDead,
    ZtunnelFrozen,
    NoCertificate,
    /// As the same, while what comes in by HBONE is still served.
    NoCertificateOutbound,
    StaleXds,
    StaleXdsOutbound,
    /// Only the captured view of DNS is old.
    StaleDns,
    HboneBlocked,
    CaptureLost,
    /// As the same, where only 15008 and the capture probe show it.
    CaptureLostInbound,
    NodeUnreachable,
    NodeMtu,
    ZonePartitioned,
    CorednsDead,
    CorednsFailing,
    IstiodDead,
    IstiodFrozen,
    IstiodCaDown,
    IstiodUntrusted,
    LinkBroken,
    LinkStale,
    WorkloadDead,
    PortClosed,
    PodsGone,
    PodsReplaced,
    PolicyDenies,
    /// STRICT where a reply was expected.
    PolicyDeniesPlaintext,
    PolicyGap,
    TrustDisagrees,
    /// It is the node's plain agent, with its mounted roots, that trusts others.
    TrustDisagreesAgent,
}

/// From this share of failures on a fault is hard.
const HARD: f64 = 0.9;

impl Fault {
    /// Its word in a diagnosis, when it strikes this share of the attempts.
    pub(super) fn word(self, rate: f64) -> &'static str {
        use Fault::*;
        let gray = rate < HARD;
        match self {
            ZtunnelDead
            | ZtunnelFrozen
            | NoCertificate
            | NoCertificateOutbound
            | StaleXds
            | StaleXdsOutbound
            | NodeUnreachable
            | ZonePartitioned
            | CorednsDead
            | CorednsFailing
            | IstiodDead
            | IstiodFrozen
            | LinkBroken
            | WorkloadDead
            | PortClosed
            | PodsGone
                if gray =>
            {
                "gray"
            }
            ZtunnelDead | CorednsDead | IstiodDead | WorkloadDead | PortClosed => "dead",
            ZtunnelFrozen | IstiodFrozen => "frozen",
            NoCertificate | NoCertificateOutbound => "no_certificate",
            StaleXds | StaleXdsOutbound => "stale_xds",
            StaleDns => "stale_dns",
            HboneBlocked => "blocked",
            CaptureLost | CaptureLostInbound => "lost",
            NodeUnreachable => "unreachable",
            NodeMtu => "mtu",
            ZonePartitioned => "partitioned",
            CorednsFailing => "failing",
            IstiodCaDown => "ca_down",
            IstiodUntrusted => "untrusted",
            LinkBroken => "broken",
            LinkStale => "stale",
            PodsGone => "gone",
            PodsReplaced => "replaced",
            PolicyDenies | PolicyDeniesPlaintext => "denies",
            PolicyGap => "gap",
            TrustDisagrees | TrustDisagreesAgent => "disagree",
        }
    }
}

//! The truth table: its rows, and the cells that they have for each pair of nodes. Pure.

use std::fmt;

use crate::target::Vantage;

/// A node of the lab, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u16);

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{}", self.0)
    }
}

/// The far end of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum To {
    /// One end only: what the row asks is not there once per node.
    Alone,
    /// The peer on a node.
    Node(Node),
    /// A CoreDNS replica, counted from 1.
    Replica(u16),
}

/// One experiment: a row of the table, from one node to one far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// What is asked, and from which side.
    pub row: Row,
    /// From where.
    pub from: Node,
    /// Of whom.
    pub to: To,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}", self.row.from(), self.from, self.row.what())?;
        match self.to {
            To::Alone => Ok(()),
            To::Node(node) => write!(f, " on {node}"),
            To::Replica(replica) => write!(f, " {replica}"),
        }
    }
}

macro_rules! rows {
    ($($(#[$doc:meta])* $variant:ident => $from:ident, $target:literal, $what:literal, $expect:literal;)+) => {
        /// A row of the truth table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Row {
            $($(#[$doc])* $variant,)+
        }

        impl Row {
            /// Every row, as the table shows them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name of its targets, before the far end.
            pub fn target(self) -> &'static str {
                match self { $(Self::$variant => $target,)+ }
            }

            /// What is asked, in words.
            pub fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)+ }
            }

            /// What must come back while nothing is wrong.
            pub fn expect(self) -> &'static str {
                match self { $(Self::$variant => $expect,)+ }
            }

            /// Who asks.
            pub fn from(self) -> From {
                match self { $(Self::$variant => From::$from,)+ }
            }
        }
    };
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum From {
    /// The agent in the ambient namespace.
    Ambient,
    /// The agent in the plain namespace.
    Plain,
    /// The tunnel daemon in the namespace `ingress`.
    Ingress,
}

impl From {
    /// The side of the mesh that it is on.
    pub fn vantage(self) -> Vantage {
        match self {
            Self::Ambient => Vantage::Ambient,
            Self::Plain | Self::Ingress => Vantage::Plain,
        }
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ambient => "ambient",
            Self::Plain => "plain",
            Self::Ingress => "ingress",
        })
    }
}

rows! {
    /// From the mesh to a peer in the mesh.
    AmbientPeer => Ambient, "peer", "ambient peer", "reply";
    /// From the mesh to a port that denies plaintext.
    AmbientCanary => Ambient, "canary", "STRICT canary", "reply";
    /// From the mesh to a peer outside: the underlay.
    AmbientUnderlay => Ambient, "plain-peer", "plain peer", "reply";
    /// From the mesh to a service of namespace `default`.
    AmbientFrontend => Ambient, "frontend", "default/mirai-frontend", "reply";
    /// From the mesh to a service of namespace `monitoring`.
    AmbientMonitoring => Ambient, "monitoring", "monitoring/prometheus", "reply";
    /// A connection that is held, to the next peer in the mesh.
    AmbientHeld => Ambient, "held", "held connection", "reply";
    /// Bodies above one segment, to the next peer in the mesh.
    AmbientLarge => Ambient, "large", "large bodies", "reply";
    /// A mesh service's name in the captured view.
    AmbientNames => Ambient, "names", "captured DNS", "reply";
    /// The ladder to istiod.
    AmbientIstiod => Ambient, "istiod", "istiod ladder", "every rung";
    /// The same by its Service's name, as the pod's resolver gives it.
    AmbientIstiodName => Ambient, "istiod-name", "istiod by name", "every rung";
    /// Capture, as enrolled.
    AmbientCapture => Ambient, "capture", "own capture", "captured";
    /// The pod's own HBONE socket.
    AmbientOwnHbone => Ambient, "own-hbone", "own certificate", "shown";
    /// From outside to a peer in the mesh.
    PlainPeer => Plain, "peer", "ambient peer", "reply";
    /// From outside to a port that denies plaintext.
    PlainCanary => Plain, "canary", "STRICT canary", "denied";
    /// From outside by HBONE with an own certificate.
    PlainHbone => Plain, "hbone", "HBONE to ambient peer", "reply";
    /// The positive control of the canary.
    PlainHboneCanary => Plain, "hbone-canary", "HBONE to STRICT canary", "reply";
    /// From outside without a certificate.
    PlainCertificate => Plain, "certificate", "HBONE certificate", "shown";
    /// From outside to a peer outside: the underlay.
    PlainUnderlay => Plain, "plain-peer", "plain peer", "reply";
    /// From outside to a service of namespace `default`.
    PlainFrontend => Plain, "frontend", "default/mirai-frontend", "reply";
    /// From outside to a service of namespace `monitoring`.
    PlainMonitoring => Plain, "monitoring", "monitoring/prometheus", "reply";
    /// A CoreDNS replica over UDP.
    PlainDnsUdp => Plain, "coredns-udp", "CoreDNS replica by udp", "reply";
    /// A CoreDNS replica over TCP.
    PlainDnsTcp => Plain, "coredns-tcp", "CoreDNS replica by tcp", "reply";
    /// The ladder to istiod.
    PlainIstiod => Plain, "istiod", "istiod ladder", "every rung";
    /// The same by its Service's name, as CoreDNS gives it.
    PlainIstiodName => Plain, "istiod-name", "istiod by name", "every rung";
    /// No capture, as not enrolled.
    PlainCapture => Plain, "capture", "own capture", "not captured";
    /// What this node's ztunnel says of itself.
    PlainZtunnel => Plain, "ztunnel", "ztunnel readiness", "ready";
    /// The tunnel daemon's calls.
    IngressFrontend => Ingress, "frontend", "default/mirai-frontend", "reply";
}

impl Row {
    /// What observations of its targets are of; of a replica by its number.
    fn subject(self) -> &'static str {
        match self {
            Self::AmbientPeer | Self::AmbientHeld | Self::AmbientLarge => "peer",
            Self::PlainPeer | Self::PlainHbone => "peer",
            Self::AmbientCanary | Self::PlainCanary | Self::PlainHboneCanary => "peer-strict",
            Self::AmbientUnderlay | Self::PlainUnderlay => "underlay",
            Self::AmbientFrontend | Self::PlainFrontend | Self::IngressFrontend => {
                "service/default/mirai-frontend"
            }
            Self::AmbientMonitoring | Self::PlainMonitoring => "service/monitoring/prometheus",
            Self::AmbientNames | Self::PlainDnsUdp | Self::PlainDnsTcp => "coredns",
            Self::AmbientIstiod | Self::AmbientIstiodName => "istiod",
            Self::PlainIstiod | Self::PlainIstiodName => "istiod",
            Self::AmbientCapture | Self::PlainCapture => "capture",
            Self::AmbientOwnHbone => "own-hbone",
            Self::PlainCertificate => "certificate",
            Self::PlainZtunnel => "ztunnel",
        }
    }
}

impl Cell {
    /// What observations of the target are of.
    pub fn subject(&self) -> String {
        let subject = self.row.subject();
        match self.to {
            To::Alone | To::Node(_) => subject.to_owned(),
            To::Replica(replica) => format!("{subject}/{replica}"),
        }
    }

    /// The target's name within its agent's plan.
    pub fn target_name(&self) -> String {
        let row = self.row.target();
        match self.to {
            To::Alone => row.to_owned(),
            To::Node(node) => format!("{row}/{node}"),
            To::Replica(replica) => format!("{row}/{replica}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn targets_of_one_agent_have_names_of_their_own() {
        let names: BTreeSet<_> = Row::ALL.iter().map(|row| (row.from(), row.target())).collect();
        assert_eq!(names.len(), Row::ALL.len());
    }
}

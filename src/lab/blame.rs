//! What a diagnosis should say of each fault of the lab: the component that stands for it, and
//! the fault's word. Pure.

use crate::diagnosis::FaultWord;
use crate::lab::cell::Node;
use crate::lab::fault::{Fault, Kind, Victim};

/// The name that the topology of a lab gives to CoreDNS replica `replica`.
pub fn replica_name(replica: u16) -> String {
    replica.to_string()
}

/// The component and the word that are right for `fault`.
///
/// Where the lab breaks what the design has no component of its own for, the nearest stands in:
/// missing listeners are a dead ztunnel (to its pods it is); certificates that have expired are
/// none; the pods of a node that are gone, closed or replaced are the `workload` that is probed
/// there; a path that loses large packets is a gray node; what istiod, CoreDNS or ztunnel's DNS
/// answer wrongly makes them gray.
pub fn blame(fault: &Fault) -> (String, FaultWord) {
    let on = |kind: &str, node: Option<Node>| match node {
        Some(node) => format!("{kind}{node}"),
        None => kind.to_owned(),
    };
    let node = fault.node();
    match fault.kind {
        Kind::ZtunnelDead | Kind::ListenersMissing => (on("ztunnel/", node), FaultWord::Dead),
        Kind::ZtunnelFrozen | Kind::ZtunnelMute => (on("ztunnel/", node), FaultWord::Frozen),
        Kind::ZtunnelNoCertificate | Kind::CertificateExpired | Kind::SignerExpired => {
            (on("ztunnel/", node), FaultWord::NoCertificate)
        }
        Kind::ZtunnelStaleXds => (on("ztunnel/", node), FaultWord::StaleXds),
        Kind::DnsDiffers => (on("ztunnel/", node), FaultWord::Gray),
        Kind::CaptureLost => (on("capture/", node), FaultWord::Lost),
        Kind::HboneBlocked => (on("hbone/", node), FaultWord::Blocked),
        Kind::PodsGone | Kind::PortClosed | Kind::AddressReused => {
            (on("workload/meshprobe/peer-", node), FaultWord::Dead)
        }
        Kind::PolicyDenies => (on("policy/meshprobe/peer-", node), FaultWord::Denies),
        Kind::PolicyGap => (on("policy/meshprobe/peer-", node), FaultWord::Gap),
        Kind::TrustSplit => (on("trust/", node), FaultWord::Disagree),
        Kind::MtuBlackhole => (on("node/", node), FaultWord::Gray),
        Kind::Strict => (denied_in(fault.victim).to_owned(), FaultWord::Denies),
        Kind::IstiodUnreachable => (on("istiod-link/", node), FaultWord::Broken),
        Kind::IstiodStale => (on("istiod-link/", node), FaultWord::Gray),
        Kind::IstiodDown | Kind::IstiodSilent => ("istiod".to_owned(), FaultWord::Dead),
        Kind::IstiodCaDown | Kind::IstiodWrongRoot => ("istiod".to_owned(), FaultWord::Gray),
        Kind::CorednsDown | Kind::CorednsSilent => (coredns(fault.victim), FaultWord::Dead),
        Kind::CorednsServfail => (coredns(fault.victim), FaultWord::Gray),
    }
}

fn coredns(victim: Victim) -> String {
    match victim {
        Victim::Replica(replica) => format!("coredns/{}", replica_name(replica)),
        Victim::Node(_) | Victim::Namespace(_) | Victim::Mesh => "coredns".to_owned(),
    }
}

/// What STRICT denies in a namespace: the lab has one Service in each, or the peers.
fn denied_in(victim: Victim) -> &'static str {
    match victim {
        Victim::Namespace("default") => "policy/default/mirai-frontend",
        Victim::Namespace("monitoring") => "policy/monitoring/prometheus",
        _ => "policy/meshprobe/peer",
    }
}

//! From faults to what is wrong with each part of the lab. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use crate::lab::ca::Authority;
use crate::lab::cell::Node;
use crate::lab::fault::{Fault, Kind, Victim};
use crate::lab::istiod::{Ca, Certificate, Connection, IstiodCondition, Stale};
use crate::lab::plan::{CANARY, PERMISSIVE, SERVICE};
use crate::lab::world::World;
use crate::lab::ztunnel::{Condition, LeafDefect, OtherTrust};

/// Bytes that pass a black hole of large packets: requests and certificates fit.
const SMALL: u64 = 6 * 1024;
/// Who has the address of a pod that is gone.
const SUCCESSOR: &str = "spiffe://cluster.local/ns/default/sa/successor";

/// The condition of the ztunnel on `node`.
pub(super) fn ztunnel(
    node: Node,
    faults: &[Fault],
    world: &World,
    other: &Arc<Authority>,
) -> Condition {
    let mut condition = Condition::default();
    for fault in faults {
        everywhere(fault, world, &mut condition);
        if fault.victim == Victim::Node(node) {
            here(fault.kind, world, node, other, &mut condition);
        }
    }
    condition
}

/// What is felt on every node.
fn everywhere(fault: &Fault, world: &World, condition: &mut Condition) {
    match (fault.kind, fault.victim) {
        (Kind::PodsGone, Victim::Node(node)) => {
            condition.gone_pods.extend(ambient_pods(world, node));
        }
        (Kind::Strict, Victim::Namespace(namespace)) => {
            let pods = world.pods.iter().filter(|pod| pod.ambient && pod.namespace == namespace);
            condition.strict.extend(pods.flat_map(|pod| {
                let stated = [PERMISSIVE, CANARY, SERVICE];
                stated.into_iter().map(|port| (pod.ip, port))
            }));
        }
        (_, _) => {}
    }
}

fn here(kind: Kind, world: &World, node: Node, other: &Arc<Authority>, condition: &mut Condition) {
    match kind {
        Kind::ZtunnelDead => condition.dead = true,
        Kind::ZtunnelFrozen => condition.frozen = true,
        Kind::ZtunnelMute => condition.mute = true,
        Kind::ZtunnelNoCertificate => condition.no_certificate = true,
        Kind::ZtunnelStaleXds => condition.unknown_workloads = true,
        Kind::ListenersMissing => condition.listeners_missing = true,
        Kind::CaptureLost => condition.capture_lost = true,
        Kind::HboneBlocked => condition.hbone_blocked = true,
        Kind::PortClosed => {
            condition.closed_ports.extend(agent(world, node).map(|ip| (ip, PERMISSIVE)));
        }
        Kind::PolicyDenies => condition.denies = true,
        Kind::PolicyGap => condition.policy_gap = true,
        Kind::TrustSplit => condition.trust_split = Some(OtherTrust(Arc::clone(other))),
        Kind::CertificateExpired => condition.leaf = LeafDefect::Expired,
        Kind::SignerExpired => condition.leaf = LeafDefect::SignerExpired,
        Kind::AddressReused => {
            condition.leaf = LeafDefect::OtherIdentity(SUCCESSOR.to_owned());
            condition.half_open = true;
        }
        Kind::MtuBlackhole => condition.stall_after = Some(SMALL),
        Kind::PodsGone
        | Kind::Strict
        | Kind::IstiodUnreachable
        | Kind::IstiodStale
        | Kind::IstiodDown
        | Kind::IstiodSilent
        | Kind::IstiodCaDown
        | Kind::IstiodWrongRoot
        | Kind::CorednsDown
        | Kind::CorednsSilent
        | Kind::CorednsServfail
        | Kind::DnsDiffers => {}
    }
}

/// The condition of the way to istiod from `node`.
pub(super) fn istiod(node: Node, faults: &[Fault], world: &World) -> IstiodCondition {
    let mut condition = IstiodCondition::default();
    for fault in faults {
        let here = fault.victim == Victim::Node(node);
        match fault.kind {
            Kind::IstiodDown => condition.connection = Connection::Refused,
            Kind::IstiodUnreachable if here => condition.connection = Connection::Refused,
            Kind::IstiodSilent => condition.connection = Connection::Silent,
            Kind::IstiodCaDown => condition.ca = Ca::Unavailable,
            Kind::IstiodWrongRoot => condition.certificate = Certificate::WrongRoot,
            Kind::IstiodStale if here => {
                condition.stale.extend(agent(world, node).map(|ip| (ip, Stale::Plain)));
            }
            _ => {}
        }
    }
    condition
}

/// The ambient agent of `node`.
fn agent(world: &World, node: Node) -> impl Iterator<Item = IpAddr> + '_ {
    let node = node.to_string();
    let pods = world.pods.iter().filter(move |pod| pod.ambient && pod.node == node);
    pods.filter(|pod| pod.namespace == "meshprobe-ambient").map(|pod| pod.ip)
}

fn ambient_pods(world: &World, node: Node) -> impl Iterator<Item = IpAddr> + '_ {
    let node = node.to_string();
    world.pods.iter().filter(move |pod| pod.ambient && pod.node == node).map(|pod| pod.ip)
}

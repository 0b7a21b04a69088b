//! The signature table: which cells of the truth table each fault turns, and into what. Data, and
//! a look-up; the lab holds what it saw against it.
//!
//! Source: the signature table of a real mesh. Where loopback differs, the rule says so.

use crate::expectation::Verdict::{self, Inconclusive, Violated};
use crate::failure::Phase::{self, Connect, Processing, Resolve, Tls, Transfer, Tunnel};
use crate::failure::Reason;
use crate::lab::cell::{Cell, Node, Row, To};
use crate::lab::fault::{Fault, Kind, Victim};

/// Where the services of the lab have their one pod each.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Node of `default/mirai-frontend`.
    pub frontend: Node,
    /// Node of `monitoring/prometheus`.
    pub monitoring: Node,
}

/// What a cell turns into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// The verdict.
    pub verdict: Verdict,
    /// How attempts fail: any of these.
    pub failures: &'static [(Phase, Reason)],
    /// Whether it may stay unseen: connections that a ztunnel keeps are not verified again.
    pub may_hide: bool,
}

/// How an attempt was not met.
pub type Sight = (Verdict, Phase, Reason);

impl Effect {
    /// Whether `sight` is what the table says.
    pub fn allows(&self, (verdict, phase, reason): &Sight) -> bool {
        *verdict == self.verdict && self.failures.contains(&(*phase, *reason))
    }
}

/// Which end of a cell the victim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The near one.
    From,
    /// The far one.
    To,
    /// The far one, seen from another node.
    Other,
    /// All the same.
    Any,
}

struct Rule {
    kinds: &'static [Kind],
    end: End,
    rows: &'static [Row],
    effect: Effect,
}

const fn violated(
    kinds: &'static [Kind],
    end: End,
    rows: &'static [Row],
    failures: &'static [(Phase, Reason)],
) -> Rule {
    Rule { kinds, end, rows, effect: Effect { verdict: Violated, failures, may_hide: false } }
}

/// What is seen only where a new connection between ztunnels is made.
const fn maybe(
    kinds: &'static [Kind],
    end: End,
    rows: &'static [Row],
    failures: &'static [(Phase, Reason)],
) -> Rule {
    Rule { kinds, end, rows, effect: Effect { verdict: Violated, failures, may_hide: true } }
}

/// A denial that cannot be told from death, because its control fails too.
const fn unsure(kinds: &'static [Kind], end: End, failures: &'static [(Phase, Reason)]) -> Rule {
    let effect = Effect { verdict: Inconclusive, failures, may_hide: false };
    Rule { kinds, end, rows: &[Row::PlainCanary], effect }
}

const REFUSED: &[(Phase, Reason)] = &[(Connect, Reason::Refused)];
/// Accepted, then ended with nothing said: STRICT, closed, dead or unknown behind a ztunnel.
const DROPPED: &[(Phase, Reason)] = &[
    (Processing, Reason::Reset),
    (Processing, Reason::Closed),
    (Transfer, Reason::Reset),
    (Transfer, Reason::Closed),
];
const UNANSWERED: &[(Phase, Reason)] = &[
    (Processing, Reason::Timeout),
    (Processing, Reason::Reset),
    (Processing, Reason::Closed),
    (Transfer, Reason::Timeout),
    (Transfer, Reason::Reset),
    (Transfer, Reason::Closed),
];
const UNSHAKEN: &[(Phase, Reason)] = &[(Tls, Reason::Timeout)];
const LARGE_LOST: &[(Phase, Reason)] = &[(Transfer, Reason::Timeout)];
const NO_WAY: &[(Phase, Reason)] = &[(Connect, Reason::Timeout), (Connect, Reason::Unreachable)];
const HANDSHAKE_ENDED: &[(Phase, Reason)] =
    &[(Tls, Reason::Reset), (Tls, Reason::Closed), (Tls, Reason::TlsAlert)];

/// Calls from the mesh that go by HBONE.
const MESH: &[Row] = &[
    Row::AmbientPeer,
    Row::AmbientCanary,
    Row::AmbientFrontend,
    Row::AmbientMonitoring,
    Row::AmbientHeld,
    Row::AmbientLarge,
];
/// Calls from the mesh through the own ztunnel to anywhere.
const CAPTURED: &[Row] = &[
    Row::AmbientPeer,
    Row::AmbientCanary,
    Row::AmbientUnderlay,
    Row::AmbientFrontend,
    Row::AmbientMonitoring,
    Row::AmbientHeld,
    Row::AmbientLarge,
];
/// Plaintext calls into the mesh.
const PLAINTEXT: &[Row] =
    &[Row::PlainPeer, Row::PlainFrontend, Row::PlainMonitoring, Row::IngressFrontend];
/// HBONE from outside.
const HBONE: &[Row] = &[Row::PlainHbone, Row::PlainHboneCanary, Row::PlainCertificate];
/// HBONE from outside with a certificate.
const TUNNELS: &[Row] = &[Row::PlainHbone, Row::PlainHboneCanary];
/// The ladders from the mesh.
const AMBIENT_LADDERS: &[Row] = &[Row::AmbientIstiod, Row::AmbientIstiodName];
/// The ladders from outside.
const PLAIN_LADDERS: &[Row] = &[Row::PlainIstiod, Row::PlainIstiodName];
/// The ladders of both sides.
const LADDERS: &[Row] =
    &[Row::AmbientIstiod, Row::AmbientIstiodName, Row::PlainIstiod, Row::PlainIstiodName];

/// The first rule that fits a cell decides.
const RULES: &[Rule] = &[
    // A ztunnel that is gone, or whose sockets are.
    violated(
        &[Kind::ZtunnelDead, Kind::ListenersMissing],
        End::From,
        CAPTURED,
        &[
            (Connect, Reason::Refused),
            // What was established when it died.
            (Processing, Reason::Reset),
            (Transfer, Reason::Reset),
            (Transfer, Reason::Closed),
        ],
    ),
    violated(
        &[Kind::ZtunnelDead, Kind::ListenersMissing],
        End::From,
        &[Row::AmbientIstiod],
        REFUSED,
    ),
    violated(
        &[Kind::ZtunnelDead, Kind::ListenersMissing],
        End::From,
        &[Row::AmbientIstiodName],
        // As with the captured view; the name may have been resolved before.
        &[(Resolve, Reason::Refused), (Resolve, Reason::Timeout), (Connect, Reason::Refused)],
    ),
    violated(
        &[Kind::ZtunnelDead, Kind::ListenersMissing],
        End::From,
        &[Row::AmbientNames],
        // A question that was on its way when the socket went is not answered.
        &[(Processing, Reason::Refused), (Processing, Reason::Timeout)],
    ),
    violated(
        &[Kind::ZtunnelDead, Kind::ListenersMissing],
        End::From,
        &[Row::AmbientCapture],
        &[(Connect, Reason::Refused), (Connect, Reason::CaptureMismatch)],
    ),
    violated(
        &[Kind::ZtunnelDead, Kind::ListenersMissing],
        End::From,
        &[Row::AmbientOwnHbone],
        REFUSED,
    ),
    violated(&[Kind::ZtunnelDead], End::From, &[Row::PlainZtunnel], REFUSED),
    violated(&[Kind::ZtunnelDead], End::To, MESH, DROPPED),
    maybe(&[Kind::ListenersMissing], End::To, MESH, DROPPED),
    violated(&[Kind::ZtunnelDead, Kind::ListenersMissing], End::To, PLAINTEXT, REFUSED),
    violated(&[Kind::ZtunnelDead, Kind::ListenersMissing], End::To, HBONE, REFUSED),
    unsure(&[Kind::ZtunnelDead, Kind::ListenersMissing], End::To, REFUSED),
    // A ztunnel that accepts, or whose kernel does, and says nothing.
    violated(&[Kind::ZtunnelFrozen, Kind::ZtunnelMute], End::From, CAPTURED, UNANSWERED),
    violated(&[Kind::ZtunnelFrozen, Kind::ZtunnelMute], End::From, &[Row::AmbientIstiod], UNSHAKEN),
    violated(
        &[Kind::ZtunnelFrozen, Kind::ZtunnelMute],
        End::From,
        &[Row::AmbientIstiodName],
        &[(Resolve, Reason::Timeout), (Tls, Reason::Timeout)],
    ),
    violated(
        &[Kind::ZtunnelFrozen, Kind::ZtunnelMute],
        End::From,
        &[Row::AmbientNames],
        &[(Processing, Reason::Timeout)],
    ),
    violated(
        &[Kind::ZtunnelFrozen, Kind::ZtunnelMute],
        End::From,
        &[Row::AmbientOwnHbone],
        UNSHAKEN,
    ),
    violated(
        &[Kind::ZtunnelFrozen],
        End::From,
        &[Row::PlainZtunnel],
        &[(Processing, Reason::Timeout)],
    ),
    violated(&[Kind::ZtunnelFrozen], End::To, MESH, UNANSWERED),
    maybe(&[Kind::ZtunnelMute], End::To, MESH, UNANSWERED),
    violated(
        &[Kind::ZtunnelFrozen, Kind::ZtunnelMute],
        End::To,
        PLAINTEXT,
        &[(Processing, Reason::Timeout)],
    ),
    violated(&[Kind::ZtunnelFrozen, Kind::ZtunnelMute], End::To, HBONE, UNSHAKEN),
    unsure(&[Kind::ZtunnelFrozen, Kind::ZtunnelMute], End::To, &[(Processing, Reason::Timeout)]),
    // A ztunnel without certificates: what needs none goes on.
    maybe(&[Kind::ZtunnelNoCertificate], End::From, MESH, DROPPED),
    violated(&[Kind::ZtunnelNoCertificate], End::From, &[Row::AmbientOwnHbone], HANDSHAKE_ENDED),
    maybe(&[Kind::ZtunnelNoCertificate], End::To, MESH, DROPPED),
    violated(&[Kind::ZtunnelNoCertificate], End::To, HBONE, HANDSHAKE_ENDED),
    unsure(&[Kind::ZtunnelNoCertificate], End::To, DROPPED),
    // A ztunnel that does not know who calls: 5 s of silence, then the end.
    violated(&[Kind::ZtunnelStaleXds], End::From, CAPTURED, DROPPED),
    violated(&[Kind::ZtunnelStaleXds], End::From, AMBIENT_LADDERS, HANDSHAKE_ENDED),
    violated(&[Kind::ZtunnelStaleXds], End::From, &[Row::AmbientOwnHbone], HANDSHAKE_ENDED),
    violated(&[Kind::ZtunnelStaleXds], End::To, MESH, DROPPED),
    violated(&[Kind::ZtunnelStaleXds], End::To, PLAINTEXT, DROPPED),
    violated(&[Kind::ZtunnelStaleXds], End::To, HBONE, HANDSHAKE_ENDED),
    unsure(&[Kind::ZtunnelStaleXds], End::To, DROPPED),
    // Redirection gone: plaintext in both directions, past every policy.
    violated(&[Kind::CaptureLost], End::From, &[Row::AmbientCanary], DROPPED),
    violated(
        &[Kind::CaptureLost],
        End::From,
        &[Row::AmbientCapture],
        &[(Connect, Reason::CaptureMismatch), (Processing, Reason::CaptureMismatch)],
    ),
    violated(&[Kind::CaptureLost], End::From, &[Row::AmbientOwnHbone], REFUSED),
    maybe(&[Kind::CaptureLost], End::From, &[Row::AmbientHeld], DROPPED),
    violated(&[Kind::CaptureLost], End::Other, MESH, DROPPED),
    violated(&[Kind::CaptureLost], End::To, HBONE, REFUSED),
    violated(
        &[Kind::CaptureLost],
        End::To,
        &[Row::PlainCanary],
        &[(Processing, Reason::UnexpectedReply)],
    ),
    // 15008 dropped, or whole pods: the caller's ztunnel gives up after 10 s, or 3 s.
    violated(&[Kind::HboneBlocked], End::To, MESH, UNANSWERED),
    violated(&[Kind::HboneBlocked], End::To, HBONE, NO_WAY),
    unsure(&[Kind::HboneBlocked], End::To, DROPPED),
    // In a pod 127.0.0.1:15008 is past every NetworkPolicy; here it is the pod's address.
    violated(&[Kind::HboneBlocked, Kind::PodsGone], End::From, &[Row::AmbientOwnHbone], NO_WAY),
    violated(
        &[Kind::HboneBlocked, Kind::PodsGone],
        End::From,
        &[Row::AmbientCapture],
        &[(Processing, Reason::CaptureMismatch), (Connect, Reason::CaptureMismatch)],
    ),
    violated(&[Kind::PodsGone], End::To, MESH, UNANSWERED),
    violated(&[Kind::PodsGone], End::To, PLAINTEXT, NO_WAY),
    violated(&[Kind::PodsGone], End::To, HBONE, NO_WAY),
    unsure(&[Kind::PodsGone], End::To, NO_WAY),
    // Behind the tunnel.
    violated(
        &[Kind::PortClosed],
        End::To,
        &[Row::AmbientPeer, Row::AmbientHeld, Row::AmbientLarge],
        DROPPED,
    ),
    violated(&[Kind::PortClosed], End::To, &[Row::PlainPeer], DROPPED),
    violated(
        &[Kind::PortClosed],
        End::To,
        &[Row::PlainHbone],
        &[(Tunnel, Reason::HboneUnavailable)],
    ),
    violated(&[Kind::PolicyDenies], End::To, MESH, DROPPED),
    violated(&[Kind::PolicyDenies], End::To, PLAINTEXT, DROPPED),
    violated(&[Kind::PolicyDenies], End::To, TUNNELS, &[(Tunnel, Reason::HboneDenied)]),
    unsure(&[Kind::PolicyDenies], End::To, DROPPED),
    violated(
        &[Kind::PolicyGap],
        End::To,
        &[Row::PlainCanary],
        &[(Processing, Reason::UnexpectedReply)],
    ),
    // Certificates: the caller's ztunnel rejects them, and so do we, by name.
    maybe(&[Kind::TrustSplit], End::From, MESH, DROPPED),
    maybe(&[Kind::CertificateExpired, Kind::SignerExpired], End::From, MESH, DROPPED),
    maybe(
        &[Kind::TrustSplit, Kind::CertificateExpired, Kind::SignerExpired],
        End::To,
        MESH,
        DROPPED,
    ),
    violated(&[Kind::AddressReused], End::To, MESH, UNANSWERED),
    violated(&[Kind::TrustSplit], End::To, HBONE, &[(Tls, Reason::CertUntrusted)]),
    violated(
        &[Kind::TrustSplit],
        End::From,
        &[Row::AmbientOwnHbone],
        &[(Tls, Reason::CertUntrusted)],
    ),
    violated(
        &[Kind::CertificateExpired, Kind::SignerExpired],
        End::To,
        HBONE,
        &[(Tls, Reason::CertExpired)],
    ),
    violated(
        &[Kind::CertificateExpired, Kind::SignerExpired],
        End::From,
        &[Row::AmbientOwnHbone],
        &[(Tls, Reason::CertExpired)],
    ),
    violated(&[Kind::AddressReused], End::To, HBONE, &[(Tls, Reason::CertNameMismatch)]),
    violated(
        &[Kind::AddressReused],
        End::From,
        &[Row::AmbientOwnHbone],
        &[(Tls, Reason::CertNameMismatch)],
    ),
    unsure(
        &[Kind::TrustSplit, Kind::CertificateExpired, Kind::SignerExpired, Kind::AddressReused],
        End::To,
        DROPPED,
    ),
    // Small bodies pass.
    violated(&[Kind::MtuBlackhole], End::From, &[Row::AmbientLarge], LARGE_LOST),
    violated(&[Kind::MtuBlackhole], End::To, &[Row::AmbientLarge], LARGE_LOST),
    // The ladder to istiod, and DNS.
    violated(&[Kind::IstiodUnreachable], End::From, PLAIN_LADDERS, REFUSED),
    violated(&[Kind::IstiodUnreachable], End::From, AMBIENT_LADDERS, HANDSHAKE_ENDED),
    violated(
        &[Kind::IstiodStale],
        End::From,
        AMBIENT_LADDERS,
        &[(Processing, Reason::WorkloadMismatch)],
    ),
    violated(&[Kind::IstiodDown], End::Any, PLAIN_LADDERS, REFUSED),
    violated(&[Kind::IstiodDown], End::Any, AMBIENT_LADDERS, HANDSHAKE_ENDED),
    violated(&[Kind::IstiodSilent], End::Any, LADDERS, UNSHAKEN),
    violated(&[Kind::IstiodCaDown], End::Any, LADDERS, &[(Processing, Reason::GrpcStatus)]),
    violated(&[Kind::IstiodWrongRoot], End::Any, LADDERS, &[(Tls, Reason::CertUntrusted)]),
    violated(&[Kind::CorednsDown], End::To, &[Row::PlainDnsUdp], &[(Processing, Reason::Refused)]),
    violated(&[Kind::CorednsDown], End::To, &[Row::PlainDnsTcp], REFUSED),
    violated(
        &[Kind::CorednsSilent],
        End::To,
        &[Row::PlainDnsUdp, Row::PlainDnsTcp],
        &[(Processing, Reason::Timeout)],
    ),
    violated(
        &[Kind::CorednsServfail],
        End::To,
        &[Row::PlainDnsUdp, Row::PlainDnsTcp],
        &[(Processing, Reason::Servfail)],
    ),
    // Through the Service address, which goes on asking a replica that does not answer.
    maybe(
        &[Kind::CorednsDown, Kind::CorednsSilent],
        End::Any,
        &[Row::PlainIstiodName],
        &[(Resolve, Reason::Timeout)],
    ),
    maybe(
        &[Kind::CorednsServfail],
        End::Any,
        &[Row::PlainIstiodName],
        &[(Resolve, Reason::Servfail)],
    ),
    violated(
        &[Kind::DnsDiffers],
        End::From,
        &[Row::AmbientNames],
        &[(Processing, Reason::DnsMismatch)],
    ),
    // STRICT: what calls in plaintext is reset.
    violated(&[Kind::Strict], End::To, PLAINTEXT, DROPPED),
];

/// What `fault` turns `cell` into; `None` leaves it met.
pub fn effect(fault: &Fault, cell: &Cell, layout: &Layout) -> Option<Effect> {
    let far = far_end(cell, layout);
    let near = fault.victim == Victim::Node(cell.from);
    let hits = |end: End| match (end, fault.victim) {
        (End::Any, _) => true,
        (End::From, _) => near,
        (End::To, Victim::Node(node)) => far == Some(node),
        (End::Other, _) => hits_far_node(fault.victim, far) && !near,
        (End::To, Victim::Replica(replica)) => cell.to == To::Replica(replica),
        (End::To, Victim::Namespace(name)) => namespace(cell.row) == Some(name),
        (End::To, Victim::Mesh) => false,
    };
    let fits = |rule: &&Rule| {
        rule.kinds.contains(&fault.kind) && rule.rows.contains(&cell.row) && hits(rule.end)
    };
    RULES.iter().find(fits).map(|rule| rule.effect)
}

fn hits_far_node(victim: Victim, far: Option<Node>) -> bool {
    matches!((victim, far), (Victim::Node(node), Some(far)) if node == far)
}

/// The node of the far end's pod.
pub fn far_end(cell: &Cell, layout: &Layout) -> Option<Node> {
    match (cell.to, cell.row) {
        (To::Node(node), _) => Some(node),
        (_, Row::AmbientFrontend | Row::PlainFrontend | Row::IngressFrontend) => {
            Some(layout.frontend)
        }
        (_, Row::AmbientMonitoring | Row::PlainMonitoring) => Some(layout.monitoring),
        (To::Alone | To::Replica(_), _) => None,
    }
}

/// The namespace that a plaintext call goes to.
fn namespace(row: Row) -> Option<&'static str> {
    match row {
        Row::PlainPeer => Some("meshprobe-ambient"),
        Row::PlainFrontend | Row::IngressFrontend => Some("default"),
        Row::PlainMonitoring => Some("monitoring"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { frontend: Node(1), monitoring: Node(2) };

    fn effect_of(fault: &str, row: Row, from: u16, to: To) -> Option<Effect> {
        let fault = fault.parse().expect("a fault");
        effect(&fault, &Cell { row, from: Node(from), to }, &LAYOUT)
    }

    #[test]
    fn every_kind_of_fault_turns_something() {
        for kind in Kind::ALL {
            assert!(RULES.iter().any(|rule| rule.kinds.contains(kind)), "{}", kind.as_str());
        }
    }

    #[test]
    fn a_dead_ztunnel_refuses_its_own_pods_and_resets_the_others() {
        let fault = "ztunnel-dead/node-2";
        let own = effect_of(fault, Row::AmbientUnderlay, 2, To::Node(Node(3)));
        assert!(own.expect("turned").failures.contains(&(Connect, Reason::Refused)));
        let other = effect_of(fault, Row::AmbientPeer, 1, To::Node(Node(2))).expect("turned");
        assert!(other.failures.contains(&(Processing, Reason::Reset)));
        assert!(!other.failures.contains(&(Connect, Reason::Refused)));
        assert_eq!(effect_of(fault, Row::AmbientUnderlay, 1, To::Node(Node(2))), None);
        assert_eq!(effect_of(fault, Row::PlainUnderlay, 2, To::Node(Node(1))), None);
    }

    #[test]
    fn a_denial_beside_a_failing_control_is_unsure() {
        let canary = effect_of("hbone-blocked/node-2", Row::PlainCanary, 1, To::Node(Node(2)));
        assert_eq!(canary.expect("turned").verdict, Inconclusive);
    }

    #[test]
    fn strict_turns_the_plaintext_callers_of_its_namespace_only() {
        let fault = "strict/default";
        assert!(effect_of(fault, Row::IngressFrontend, 1, To::Alone).is_some());
        assert!(effect_of(fault, Row::PlainFrontend, 3, To::Alone).is_some());
        assert_eq!(effect_of(fault, Row::PlainMonitoring, 3, To::Alone), None);
        assert_eq!(effect_of(fault, Row::AmbientFrontend, 3, To::Alone), None);
    }
}

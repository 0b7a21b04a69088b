//! The signature table: which attempts a fault makes fail, how surely, and with which reasons. Data,
//! and a look-up.
//!
//! Source: MESH-FACTS, "Signatures" and "Faults seen in the field". An effect that is not sure is
//! one that pooled connections or a cache can hide, or that depends on how the fault came about.

use crate::diagnosis::component::Fault::{self, *};
use crate::diagnosis::path::Class::{self, *};
use crate::diagnosis::path::Role::{self, *};
use crate::failure::Reason::{self, *};

/// What a fault does to attempts of a class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    /// How likely it shows on a path at all.
    pub(super) sure: f64,
    /// How they fail: any of these.
    pub(super) reasons: &'static [Reason],
}

struct Rule {
    faults: &'static [Fault],
    role: Role,
    classes: &'static [Class],
    effect: Effect,
}

const fn rule(
    faults: &'static [Fault],
    role: Role,
    classes: &'static [Class],
    sure: f64,
    reasons: &'static [Reason],
) -> Rule {
    Rule { faults, role, classes, effect: Effect { sure, reasons } }
}

/// On every path.
const ALL: f64 = 1.0;
/// On nearly every one.
const MOST: f64 = 0.98;
/// Unless pooled connections hide it.
const SOME: f64 = 0.7;
/// Or not, as the fault came about.
const MAYBE: f64 = 0.5;

const REFUSED: &[Reason] = &[Refused];
const DROPPED: &[Reason] = &[Reset, Closed];
const SILENT: &[Reason] = &[Timeout];
const UNANSWERED: &[Reason] = &[Timeout, Reset, Closed];
const NO_WAY: &[Reason] = &[Timeout, Unreachable];
const HANDSHAKE: &[Reason] = &[Reset, Closed, TlsAlert, TlsProtocol];
const LOST: &[Reason] = &[Timeout, Unreachable, Reset, Closed, Refused];

const MESH: &[Class] = &[Mesh, MeshStrict, MeshLarge];
const OUTBOUND: &[Class] = &[Mesh, MeshStrict, MeshLarge, Captured];
const TUNNELS: &[Class] = &[Tunnel, TunnelStrict];
const HBONE: &[Class] = &[Tunnel, TunnelStrict, Certificate];
const LADDERS: &[Class] = &[Istiod, CapturedIstiod];
const FAR_FROM_MESH: &[Class] = &[Mesh, MeshStrict, MeshLarge, Captured, CapturedIstiod];
const FAR_FROM_PLAIN: &[Class] =
    &[Plaintext, Tunnel, TunnelStrict, Certificate, Underlay, Dns, Istiod];
const NEAR_PLAIN: &[Class] =
    &[Plaintext, Tunnel, TunnelStrict, Certificate, Underlay, Dns, Istiod, Class::Ztunnel];

/// The first rule that fits decides.
const RULES: &[Rule] = &[
    rule(&[ZtunnelDead], Near, OUTBOUND, ALL, &[Refused, Reset, Closed]),
    rule(&[ZtunnelDead], Near, &[CapturedIstiod], ALL, &[Refused, Timeout, Reset, Closed]),
    rule(&[ZtunnelDead], Near, &[CapturedDns], MOST, &[Refused, Timeout]),
    rule(&[ZtunnelDead], Near, &[Capture], MOST, &[Refused, Timeout, CaptureMismatch]),
    rule(&[ZtunnelDead], Near, &[OwnHbone], ALL, REFUSED),
    rule(&[ZtunnelDead], Near, &[Class::Ztunnel], MAYBE, LOST),
    rule(&[ZtunnelDead], Far, MESH, MOST, UNANSWERED),
    rule(&[ZtunnelDead], Far, &[Plaintext], ALL, REFUSED),
    rule(&[ZtunnelDead], Far, HBONE, ALL, REFUSED),
    rule(&[ZtunnelFrozen], Near, OUTBOUND, ALL, UNANSWERED),
    rule(&[ZtunnelFrozen], Near, &[CapturedIstiod], ALL, UNANSWERED),
    rule(&[ZtunnelFrozen], Near, &[CapturedDns, OwnHbone], ALL, SILENT),
    rule(&[ZtunnelFrozen], Near, &[Capture], MAYBE, &[Timeout, CaptureMismatch]),
    rule(&[ZtunnelFrozen], Near, &[Class::Ztunnel], MAYBE, SILENT),
    rule(&[ZtunnelFrozen], Far, MESH, MOST, UNANSWERED),
    rule(&[ZtunnelFrozen], Far, &[Plaintext], ALL, SILENT),
    rule(&[ZtunnelFrozen], Far, HBONE, ALL, SILENT),
    rule(&[NoCertificate, NoCertificateOutbound], Near, MESH, SOME, DROPPED),
    rule(
        &[NoCertificate],
        Near,
        &[OwnHbone],
        ALL,
        &[Reset, Closed, TlsAlert, TlsProtocol, CertExpired],
    ),
    rule(&[NoCertificate], Far, MESH, SOME, DROPPED),
    rule(
        &[NoCertificate],
        Far,
        HBONE,
        ALL,
        &[Reset, Closed, TlsAlert, TlsProtocol, CertExpired, CertExpiring],
    ),
    rule(&[StaleXds, StaleXdsOutbound], Near, OUTBOUND, ALL, UNANSWERED),
    rule(
        &[StaleXds, StaleXdsOutbound],
        Near,
        &[CapturedIstiod],
        MOST,
        &[Reset, Closed, TlsAlert, TlsProtocol, Timeout],
    ),
    rule(&[StaleXds], Near, &[OwnHbone], ALL, HANDSHAKE),
    rule(&[StaleXds], Far, MESH, ALL, DROPPED),
    rule(&[StaleXds], Far, &[Plaintext], ALL, DROPPED),
    rule(&[StaleXds], Far, HBONE, ALL, &[Reset, Closed, TlsAlert, TlsProtocol, HboneUnavailable]),
    rule(&[StaleDns], Near, &[CapturedDns], ALL, &[DnsMismatch, Nxdomain, Nodata]),
    rule(&[HboneBlocked], Far, MESH, MOST, UNANSWERED),
    rule(&[HboneBlocked], Far, HBONE, ALL, &[Timeout, Unreachable, Refused]),
    rule(&[HboneBlocked], Near, &[OwnHbone], MAYBE, NO_WAY),
    rule(&[HboneBlocked], Near, &[Capture], MAYBE, &[CaptureMismatch]),
    rule(&[CaptureLost], Near, &[MeshStrict], ALL, DROPPED),
    rule(&[CaptureLost, CaptureLostInbound], Near, &[Capture], ALL, &[CaptureMismatch]),
    rule(&[CaptureLost, CaptureLostInbound], Near, &[OwnHbone], MOST, REFUSED),
    rule(&[CaptureLost], Far, MESH, MOST, &[Reset, Closed, Refused]),
    rule(&[CaptureLost, CaptureLostInbound], Far, HBONE, ALL, REFUSED),
    rule(&[CaptureLost], Far, &[Denied], ALL, &[UnexpectedReply]),
    rule(&[NodeUnreachable], Far, FAR_FROM_PLAIN, ALL, NO_WAY),
    rule(&[NodeUnreachable], Far, FAR_FROM_MESH, ALL, &[Timeout, Reset, Closed, Unreachable]),
    rule(&[NodeUnreachable], Near, NEAR_PLAIN, MOST, NO_WAY),
    rule(&[NodeUnreachable], Near, FAR_FROM_MESH, MOST, &[Timeout, Reset, Closed, Unreachable]),
    rule(&[NodeUnreachable], Near, &[CapturedDns], MAYBE, &[Timeout, Servfail]),
    rule(&[NodeMtu], Near, &[MeshLarge], ALL, SILENT),
    rule(&[NodeMtu], Far, &[MeshLarge], ALL, SILENT),
    rule(&[ZonePartitioned], On, FAR_FROM_PLAIN, ALL, NO_WAY),
    rule(&[ZonePartitioned], On, FAR_FROM_MESH, ALL, &[Timeout, Reset, Closed, Unreachable]),
    rule(&[CorednsDead], On, &[Dns], ALL, &[Timeout, Refused, Unreachable, Reset, Closed]),
    rule(
        &[CorednsFailing],
        On,
        &[Dns],
        ALL,
        &[Servfail, DnsRefused, Nxdomain, Nodata, DnsMalformed, DnsMismatch],
    ),
    rule(
        &[IstiodDead],
        On,
        LADDERS,
        ALL,
        &[Refused, Unreachable, Reset, Closed, TlsAlert, TlsProtocol, Timeout],
    ),
    rule(&[IstiodFrozen], On, LADDERS, ALL, &[Timeout]),
    rule(&[IstiodCaDown], On, LADDERS, ALL, &[GrpcStatus]),
    rule(
        &[IstiodUntrusted],
        On,
        LADDERS,
        ALL,
        &[CertUntrusted, CertExpired, CertNameMismatch, CertNotYetValid],
    ),
    rule(
        &[LinkBroken],
        Near,
        LADDERS,
        ALL,
        &[Refused, Unreachable, Reset, Closed, TlsAlert, TlsProtocol, Timeout, GrpcStatus],
    ),
    rule(&[LinkStale], Near, &[CapturedIstiod], ALL, &[WorkloadMismatch]),
    rule(&[LinkStale], Near, &[Istiod], MAYBE, &[WorkloadMismatch]),
    rule(
        &[WorkloadDead],
        On,
        &[Mesh, MeshStrict, MeshLarge, Captured],
        ALL,
        &[Reset, Closed, Status, Timeout, HttpMalformed, BodyMismatch],
    ),
    rule(
        &[WorkloadDead],
        On,
        &[Plaintext, Underlay],
        ALL,
        &[Reset, Closed, Refused, Status, Timeout, HttpMalformed, BodyMismatch],
    ),
    rule(&[WorkloadDead], On, TUNNELS, ALL, &[HboneUnavailable, Status]),
    rule(&[PortClosed], Far, &[Mesh, MeshLarge], ALL, DROPPED),
    rule(&[PortClosed], Far, &[Plaintext], ALL, &[Reset, Closed, Refused]),
    rule(&[PortClosed], Far, &[Tunnel], ALL, &[HboneUnavailable]),
    rule(&[PodsGone], Far, MESH, ALL, UNANSWERED),
    rule(&[PodsGone], Far, &[Plaintext], ALL, NO_WAY),
    rule(&[PodsGone], Far, HBONE, ALL, NO_WAY),
    rule(&[PodsGone], Near, &[OwnHbone], SOME, NO_WAY),
    rule(&[PodsGone], Near, &[Capture], SOME, &[CaptureMismatch]),
    rule(&[PodsReplaced], Far, MESH, MOST, UNANSWERED),
    rule(&[PodsReplaced], Far, HBONE, ALL, &[CertNameMismatch]),
    rule(&[PodsReplaced], Near, &[OwnHbone], SOME, &[CertNameMismatch]),
    rule(&[PolicyDenies], On, MESH, ALL, DROPPED),
    rule(&[PolicyDenies], Far, MESH, ALL, DROPPED),
    rule(&[PolicyDenies], On, &[Plaintext], ALL, DROPPED),
    rule(&[PolicyDenies], Far, &[Plaintext], ALL, DROPPED),
    rule(&[PolicyDenies], On, TUNNELS, ALL, &[HboneDenied]),
    rule(&[PolicyDenies], Far, TUNNELS, ALL, &[HboneDenied]),
    rule(&[PolicyDeniesPlaintext], On, &[Plaintext], ALL, DROPPED),
    rule(&[PolicyDeniesPlaintext], Far, &[Plaintext], ALL, DROPPED),
    rule(&[PolicyGap], On, &[Denied], ALL, &[UnexpectedReply]),
    rule(&[PolicyGap], Far, &[Denied], ALL, &[UnexpectedReply]),
    rule(&[TrustDisagrees], Near, MESH, SOME, &[Reset, Closed, CertUntrusted]),
    rule(&[TrustDisagrees], Far, MESH, SOME, &[Reset, Closed, CertUntrusted]),
    rule(&[TrustDisagrees], Near, &[OwnHbone], MOST, &[CertUntrusted]),
    rule(&[TrustDisagrees], Far, HBONE, ALL, &[CertUntrusted, TlsAlert]),
    rule(&[TrustDisagreesAgent], Near, HBONE, ALL, &[CertUntrusted, TlsAlert]),
    rule(&[TrustDisagreesAgent], Near, LADDERS, MAYBE, &[CertUntrusted]),
];

/// What `fault` of a component in `role` does to attempts of `class`; `None` is nothing.
pub(super) fn effect(fault: Fault, role: Role, class: Class) -> Option<Effect> {
    let fits = |rule: &&Rule| {
        rule.faults.contains(&fault) && rule.role == role && rule.classes.contains(&class)
    };
    RULES.iter().find(fits).map(|rule| rule.effect)
}

//! The signature table: how a broken component shows on the paths that cross it. Data, and a
//! look-up. What is not in the table a fault leaves alone.

use std::sync::LazyLock;

use crate::diagnosis::component::Kind;
use crate::diagnosis::path::{Class, End, Path, Subject};
use crate::failure::Reason::{self, *};

/// How attempts of a path fail by a fault.
#[derive(Debug)]
pub(super) struct Signature {
    kinds: &'static [Kind],
    end: End,
    classes: &'static [Class],
    /// How likely the fault shows on such a path at all: pooled connections hide some.
    pub(super) shows: f64,
    /// The reasons that mark it, as bits.
    strong: u64,
    /// Reasons that it may have too.
    compatible: u64,
}

/// How likely an attempt that fails by a fault has this reason, if it is strong, compatible, or
/// none of these. Which of the strong ones it is, is one question for all paths, and costs a path
/// nothing.
pub(super) const LEVELS: [f64; 3] = [1.0, 0.08, 5e-4];

impl Signature {
    /// The place in [`LEVELS`] of `reason`.
    pub(super) fn level(&self, reason: Reason) -> usize {
        let bit = 1 << reason as u64;
        if self.strong & bit != 0 {
            return 0;
        }
        if self.compatible & bit != 0 { 1 } else { 2 }
    }

    /// How likely an attempt that fails by the fault has `reason`.
    pub(super) fn likelihood(&self, reason: Reason) -> f64 {
        LEVELS[self.level(reason)]
    }

    /// Whether `reason` is one that the fault has.
    pub(super) fn knows(&self, reason: Reason) -> bool {
        self.level(reason) < 2
    }

    /// Whether the fault shows on every such path.
    pub(super) fn is_certain(&self) -> bool {
        self.shows >= 1.0
    }
}

/// `reasons` as bits of a word.
const fn bits(reasons: &[Reason]) -> u64 {
    assert!(Reason::ALL.len() <= 64);
    let (mut bits, mut place) = (0, 0);
    while place < reasons.len() {
        bits |= 1 << reasons[place] as u64;
        place += 1;
    }
    bits
}

const fn must(
    kinds: &'static [Kind],
    end: End,
    classes: &'static [Class],
    strong: &'static [Reason],
    compatible: &'static [Reason],
) -> Signature {
    may(1.0, kinds, end, classes, strong, compatible)
}

const fn may(
    shows: f64,
    kinds: &'static [Kind],
    end: End,
    classes: &'static [Class],
    strong: &'static [Reason],
    compatible: &'static [Reason],
) -> Signature {
    let (strong, compatible) = (bits(strong), bits(compatible));
    Signature { kinds, end, classes, shows, strong, compatible }
}

use Class::*;
use End::{From, Shared, To};
// Not all: some kinds have the names of reasons.
use Kind::{
    Blocked, Cut, Dead, Denies, Disagree, DnsProxy, Down, Frozen, Gap, Gone, Gray, Listeners, Lost,
    Misdescribed, NoCertificate, PortClosed, Replaced, StaleXds, Wrong,
};

const CALLS: &[Class] = &[Mesh, Passthrough];
const HBONE: &[Class] = &[Tunnel, Certificate];
const LADDERS: &[Class] = &[AmbientLadder, PlainLadder];
const NAMES: &[Class] = &[Dns, CapturedDns];
const OUTSIDE: &[Class] = &[Plaintext, Direct, Tunnel, Certificate, Dns, PlainLadder];
const ENDED: &[Reason] = &[Reset, Closed];
const HANDSHAKE: &[Reason] = &[Reset, Closed, TlsAlert];
const HUNG: &[Reason] = &[Timeout, Reset, Closed];
const ANY_END: &[Reason] = &[Refused, Reset, Closed, Timeout];
const NO_WAY: &[Reason] = &[Timeout, Unreachable];
const IMPOSTOR: &[Reason] = &[CertUntrusted, CertNameMismatch, CertExpired];
const WRONG_DNS: &[Reason] = &[Servfail, Nxdomain, Nodata, DnsRefused, DnsMalformed, DnsMismatch];
const WRONG_ISTIOD: &[Reason] =
    &[GrpcStatus, CertUntrusted, CertNameMismatch, CertExpired, TlsProtocol, WorkloadMismatch];
const WRONG_REPLY: &[Reason] = &[Status, BodyMismatch, HttpMalformed, GrpcStatus];

/// The first that fits decides.
const TABLE: &[Signature] = &[
    // A ztunnel that is gone, or whose sockets are.
    must(&[Dead, Listeners], From, CALLS, &[Refused], ENDED),
    must(&[Dead, Listeners], From, &[AmbientLadder], &[Refused], &[Timeout, Reset, Closed]),
    must(&[Dead, Listeners], From, &[CapturedDns], &[Refused, Timeout], &[]),
    must(&[Dead, Listeners], From, &[Capture], &[Refused, CaptureMismatch], &[Timeout]),
    must(&[Dead, Listeners], From, &[OwnHbone], &[Refused], &[]),
    must(&[Dead], From, &[Readiness], &[Refused], &[Timeout, Unreachable]),
    must(&[Dead], To, &[Mesh], ENDED, &[Timeout]),
    may(0.5, &[Listeners], To, &[Mesh], ENDED, &[Timeout]),
    must(&[Dead, Listeners], To, &[Plaintext, Tunnel, Certificate], &[Refused], &[Timeout]),
    // One that accepts, or whose kernel does, and says nothing.
    must(&[Frozen], From, CALLS, &[Timeout], ENDED),
    must(&[Frozen], From, &[AmbientLadder, CapturedDns, OwnHbone], &[Timeout], &[]),
    may(0.6, &[Frozen], From, &[Readiness], &[Timeout], &[]),
    may(0.5, &[Frozen], From, &[Capture], &[Timeout, CaptureMismatch], &[]),
    may(0.9, &[Frozen], To, &[Mesh], HUNG, &[]),
    must(&[Frozen], To, &[Plaintext, Tunnel, Certificate], &[Timeout], &[]),
    // One without a valid certificate: what needs none goes on.
    may(0.4, &[NoCertificate], From, &[Mesh], ENDED, &[]),
    must(
        &[NoCertificate],
        From,
        &[OwnHbone],
        &[Reset, Closed, TlsAlert, CertExpired],
        &[CertExpiring],
    ),
    may(0.4, &[NoCertificate], To, &[Mesh], ENDED, &[]),
    must(&[NoCertificate], To, HBONE, &[Reset, Closed, TlsAlert, CertExpired], &[CertExpiring]),
    // One that does not know its own pods: 5 s of silence, then the end.
    must(&[StaleXds], From, CALLS, &[Closed, Timeout, Reset], &[]),
    must(&[StaleXds], From, &[AmbientLadder], &[Closed, Reset, TlsAlert, Timeout], &[]),
    may(0.5, &[StaleXds], From, &[OwnHbone], HANDSHAKE, &[Timeout]),
    may(0.8, &[StaleXds], To, &[Mesh], ENDED, &[Timeout]),
    may(0.5, &[StaleXds], To, &[Plaintext], ENDED, &[Timeout]),
    may(0.5, &[StaleXds], To, HBONE, HANDSHAKE, &[Timeout, HboneUnavailable]),
    must(&[DnsProxy], From, &[CapturedDns], WRONG_DNS, &[Timeout]),
    // One that fails now and then, in whatever way.
    must(&[Gray], From, &[Mesh, Passthrough, AmbientLadder], ANY_END, &[TlsAlert]),
    may(0.5, &[Gray], From, &[CapturedDns, OwnHbone, Readiness], ANY_END, WRONG_DNS),
    must(&[Gray], To, &[Mesh], HUNG, &[Refused]),
    must(&[Gray], To, &[Plaintext, Tunnel, Certificate], ANY_END, &[TlsAlert, HboneUnavailable]),
    // Redirection is gone: plaintext both ways, past every policy.
    may(0.5, &[Lost], From, &[Mesh], ENDED, &[]),
    must(&[Lost], From, &[Capture], &[CaptureMismatch], &[]),
    must(&[Lost], From, &[OwnHbone], &[Refused], &[Timeout]),
    must(&[Lost], To, &[Mesh], ENDED, &[Timeout]),
    must(&[Lost], To, HBONE, &[Refused], &[Timeout]),
    must(&[Lost], To, &[Denied], &[UnexpectedReply], &[]),
    // 15008 is dropped: the caller's ztunnel gives up after 10 s.
    must(&[Blocked], To, &[Mesh], HUNG, &[]),
    must(&[Blocked], To, HBONE, NO_WAY, &[]),
    may(0.3, &[Blocked, Gone], From, &[OwnHbone], NO_WAY, &[]),
    may(0.3, &[Blocked, Gone], From, &[Capture], &[CaptureMismatch], &[]),
    // Packets do not come through: nodes, zones.
    must(&[Kind::Unreachable], From, CALLS, HUNG, &[Unreachable]),
    must(&[Kind::Unreachable], From, OUTSIDE, NO_WAY, &[]),
    may(0.5, &[Kind::Unreachable], From, &[CapturedDns], &[Timeout], &[Servfail]),
    must(&[Kind::Unreachable], From, &[AmbientLadder], HUNG, &[TlsAlert]),
    must(&[Kind::Unreachable], To, CALLS, HUNG, &[Unreachable]),
    must(&[Kind::Unreachable], To, OUTSIDE, NO_WAY, &[]),
    must(&[Kind::Unreachable], To, &[AmbientLadder], HUNG, &[TlsAlert]),
    may(0.3, &[Kind::Unreachable], To, &[CapturedDns], &[Timeout], &[Servfail]),
    // What is behind the tunnel, or its address.
    must(&[PortClosed, Kind::Closed], To, &[Mesh, Plaintext], ENDED, &[Refused]),
    must(&[PortClosed, Kind::Closed], To, &[Tunnel], &[HboneUnavailable], &[]),
    must(&[Kind::Closed], To, &[Passthrough], ENDED, &[Refused]),
    must(&[Kind::Closed], To, &[Direct], &[Refused], ENDED),
    must(&[Gone], To, CALLS, HUNG, &[]),
    must(&[Gone], To, &[Plaintext, Tunnel, Certificate, Direct], NO_WAY, &[Refused]),
    must(&[Replaced], To, &[Mesh], HUNG, &[]),
    must(&[Replaced], To, HBONE, &[CertNameMismatch], &[]),
    may(0.5, &[Replaced], From, &[OwnHbone], &[CertNameMismatch], &[]),
    // Policies.
    must(&[Denies], To, &[Mesh, Plaintext], ENDED, &[]),
    must(&[Denies], To, &[Tunnel], &[HboneDenied], &[]),
    must(&[Kind::Strict], To, &[Plaintext], ENDED, &[]),
    must(&[Gap], To, &[Denied], &[UnexpectedReply], &[]),
    // Roots that disagree: the other's ztunnel rejects them, and so do we, by name.
    may(0.4, &[Disagree], From, &[Mesh], ENDED, &[]),
    may(0.4, &[Disagree], To, &[Mesh], ENDED, &[]),
    must(&[Disagree], To, HBONE, &[CertUntrusted], &[TlsAlert]),
    must(&[Disagree], From, &[OwnHbone], &[CertUntrusted], &[]),
    // CoreDNS.
    must(&[Down], To, &[Dns], &[Timeout, Refused], &[Unreachable, Servfail]),
    must(&[Wrong], To, &[Dns], WRONG_DNS, &[]),
    must(&[Gray], To, &[Dns], &[Timeout, Refused, Servfail], WRONG_DNS),
    may(0.05, &[Down, Wrong, Gray], To, &[CapturedDns], &[Timeout, Servfail], WRONG_DNS),
    // istiod, and the way to it.
    must(&[Down], To, &[PlainLadder], &[Refused, Timeout], HANDSHAKE),
    must(&[Down], To, &[AmbientLadder], &[Reset, Closed, TlsAlert, Timeout], &[Refused]),
    must(&[Wrong], To, LADDERS, WRONG_ISTIOD, &[]),
    must(&[Cut], From, &[PlainLadder], &[Refused, Timeout, Unreachable], HANDSHAKE),
    must(&[Cut], From, &[AmbientLadder], &[Reset, Closed, TlsAlert, Timeout], &[]),
    may(0.7, &[Misdescribed], From, LADDERS, &[WorkloadMismatch], &[GrpcStatus]),
    // Services that answer, wrongly.
    must(&[Wrong], To, &[Mesh, Passthrough, Plaintext, Direct], WRONG_REPLY, IMPOSTOR),
    must(&[Wrong], To, &[Tunnel], WRONG_REPLY, &[HboneUnavailable]),
    // One of several far ends.
    may(0.1, &[Down, Gray], Shared, NAMES, &[Timeout, Refused], &[Servfail]),
    may(0.1, &[Wrong], Shared, NAMES, WRONG_DNS, &[]),
    may(0.05, &[Down, Gray], Shared, LADDERS, &[Timeout, Refused, Reset, Closed], &[TlsAlert]),
    may(0.05, &[Wrong], Shared, LADDERS, WRONG_ISTIOD, WRONG_DNS),
    may(0.1, &[Kind::Unreachable], Shared, CALLS, HUNG, &[Unreachable]),
    may(0.1, &[Kind::Unreachable], Shared, OUTSIDE, NO_WAY, &[]),
    may(0.1, &[Kind::Unreachable], Shared, &[AmbientLadder], HUNG, &[TlsAlert]),
    may(0.1, &[Dead, Gray, Lost, Disagree], Shared, &[Mesh], ENDED, &[Timeout]),
    may(0.1, &[Dead, Listeners, Gray], Shared, &[Plaintext], &[Refused], ENDED),
    may(0.1, &[NoCertificate, StaleXds, Denies], Shared, &[Mesh], ENDED, &[Timeout]),
    may(0.1, &[StaleXds, Denies, Kind::Strict], Shared, &[Plaintext], ENDED, &[]),
    may(0.1, &[Frozen, Blocked, Gone, Replaced], Shared, &[Mesh], HUNG, &[]),
    may(0.1, &[Frozen, Gone], Shared, &[Plaintext], &[Timeout], &[Unreachable]),
];

/// How a fault of large packets shows.
static LARGE: Signature =
    must(&[Kind::LargeLost], To, &[Mesh, Plaintext, Direct, Passthrough], &[Timeout], ENDED);

/// How `kind` shows on `path`, to which it is at `end`; `None` when it does not.
pub(super) fn signature(kind: Kind, end: End, path: &Path) -> Option<&'static Signature> {
    if kind == Kind::LargeLost {
        return path.large.then_some(&LARGE);
    }
    // Another port, or other pods.
    if kind == PortClosed && path.subject != Subject::Peer {
        return None;
    }
    LOOKUP[place(kind, end, path.class)]
}

/// The first signature that fits, by kind, end and class.
static LOOKUP: LazyLock<Vec<Option<&'static Signature>>> = LazyLock::new(|| {
    let mut found = vec![None; KINDS * ENDS * CLASSES];
    for signature in TABLE {
        for kind in signature.kinds {
            for class in signature.classes {
                found[place(*kind, signature.end, *class)].get_or_insert(signature);
            }
        }
    }
    found
});

const KINDS: usize = Kind::Disagree as usize + 1;
const ENDS: usize = Shared as usize + 1;
const CLASSES: usize = Readiness as usize + 1;

fn place(kind: Kind, end: End, class: Class) -> usize {
    (kind as usize * ENDS + end as usize) * CLASSES + class as usize
}

/// Every signature.
#[cfg(test)]
pub(super) fn every() -> impl Iterator<Item = &'static Signature> {
    TABLE.iter()
}

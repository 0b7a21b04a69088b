//! What must come back from a pod: the truth table, held against enrolment and effective mode.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::cluster::mtls::{Effective, Policies};
use crate::cluster::{Enrolment, Pod};
use crate::config::is_label;
use crate::expectation::Expectation;
use crate::fleet::document::{Defaults, Peer, Question, Target};
use crate::fleet::name::subject_name;
use crate::fleet::unknown::UnknownReason;
use crate::spec::{HBONE_PORT, HttpUrl};
use crate::target::{Endpoint, TargetName, Via};

/// The label that Istio's injector puts on pods with a sidecar.
const SIDECAR: (&str, &str) = ("security.istio.io/tlsMode", "istio");

/// What plaintext meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A reply.
    Reply,
    /// STRICT's denial.
    Denied,
    /// Nobody could say.
    Unknown(UnknownReason),
}

/// What a caller outside the mesh gets in plaintext from `pod` at `port`.
///
/// The pod's labels decide, not what became of them: a pod that is to be captured and is not
/// (label without annotation) is expected to deny under STRICT, and its reply is the fault that is
/// to be seen. Without `policies` (they cannot be read) only who is in no mesh can be judged.
pub(super) fn plaintext(pod: &Pod, port: u16, policies: Option<&Policies<'_>>) -> Answer {
    let sidecar = has_sidecar(pod);
    if pod.wanted == Enrolment::None && !sidecar {
        return Answer::Reply;
    }
    if pod.waypoint.is_some() && !sidecar {
        return Answer::Unknown(UnknownReason::Waypoint);
    }
    let mode = policies.map(|policies| policies.effective(&pod.namespace, &pod.labels, port));
    match mode {
        None => Answer::Unknown(UnknownReason::PoliciesUnreadable),
        Some(Effective::Permissive) => Answer::Reply,
        Some(Effective::Strict) if sidecar => Answer::Unknown(UnknownReason::Sidecar),
        Some(Effective::Strict) => Answer::Denied,
    }
}

/// Whether a caller in the mesh gets a reply from `pod`, for all that is known: ztunnel reaches a
/// sidecar in plaintext, as one outside would.
pub(super) fn from_the_mesh(pod: &Pod, port: u16, policies: Option<&Policies<'_>>) -> Answer {
    if has_sidecar(pod) { plaintext(pod, port, policies) } else { Answer::Reply }
}

/// Whether a tunnel to `pod` ends at its own ztunnel, and nobody else has a say in it.
pub(super) fn is_tunnelled(pod: &Pod) -> bool {
    pod.wanted == Enrolment::Ambient && pod.waypoint.is_none()
}

fn has_sidecar(pod: &Pod) -> bool {
    pod.labels.get(SIDECAR.0).is_some_and(|value| value == SIDECAR.1)
}

/// `http://ip:port/path`; `None` when that makes no URL, or one that leads elsewhere.
pub(super) fn url(ip: IpAddr, port: u16, path: &str) -> Option<String> {
    let address = SocketAddr::new(ip, port);
    let text = path.starts_with('/').then(|| format!("http://{address}{path}"))?;
    let url = HttpUrl::parse(&text).ok()?;
    (url.endpoint() == Endpoint::from(address)).then(|| url.as_str().to_owned())
}

/// The SPIFFE ID of `pod`; `None` when the parts make none (SPIFFE-ID, 2.1 and 2.2).
pub(super) fn spiffe_id(pod: &Pod, trust_domain: &str) -> Option<String> {
    let symbol = |c: char| ".-_".contains(c);
    let domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || symbol(c);
    let segment = |part: &str| {
        let fits = (1..=253).contains(&part.len()) && part != "." && part != "..";
        fits && part.chars().all(|c| c.is_ascii_alphanumeric() || symbol(c))
    };
    let trusted = (1..=255).contains(&trust_domain.len()) && trust_domain.chars().all(domain);
    let parts = segment(&pod.namespace) && segment(&pod.service_account);
    (trusted && parts).then(|| pod.spiffe_id(trust_domain))
}

/// A target that states nothing beyond name, address and question, and expects a reply.
pub(super) fn target(name: TargetName, address: String, question: Question) -> Target {
    Target {
        name,
        address,
        question,
        expect: Expectation::Reply,
        via: None,
        subject: None,
        destination_node: None,
        control: None,
        interval: None,
        timeout: None,
        max_in_flight: None,
    }
}

impl Target {
    pub(super) fn via(self, via: Via) -> Self {
        Self { via: Some(via), ..self }
    }

    /// What observations of it are of.
    pub(super) fn of(self, subject: &[&str]) -> Self {
        let subject = subject_name(subject);
        Self { subject: (subject.as_str() != self.name.as_str()).then_some(subject), ..self }
    }

    /// Its far end is on `node`; a name that no label can hold is not told.
    pub(super) fn on(self, node: &str) -> Self {
        Self { destination_node: is_label(node).then(|| node.to_owned()), ..self }
    }

    pub(super) fn expect(self, expect: &Expectation) -> Self {
        Self { expect: expect.clone(), ..self }
    }

    /// Expects a denial that `control` shows to be one.
    pub(super) fn denied(self, control: &TargetName) -> Self {
        Self { expect: Expectation::Denied, control: Some(control.clone()), ..self }
    }

    /// Asked every `interval`, which is stated unless it is the default.
    pub(super) fn every(self, interval: Duration, defaults: &Defaults) -> Self {
        Self { interval: (interval != defaults.interval).then_some(interval), ..self }
    }

    pub(super) fn within(self, timeout: Duration, defaults: &Defaults) -> Self {
        Self { timeout: (timeout != defaults.timeout).then_some(timeout), ..self }
    }
}

/// HBONE to the pod with `spiffe_id`, a certificate shown.
pub(super) fn tunnel(spiffe_id: String) -> Question {
    let tls = Peer { spiffe_id, min_remaining: None };
    Question::Hbone { credentialed: true, peer: None, tls }
}

/// The same to a waypoint, which leads on to where CONNECT names.
pub(super) fn through(waypoint: IpAddr, spiffe_id: String) -> Question {
    let tls = Peer { spiffe_id, min_remaining: None };
    let peer = Some(SocketAddr::new(waypoint, HBONE_PORT));
    Question::Hbone { credentialed: true, peer, tls }
}

/// HBONE without a certificate: only the peer's own is looked at.
pub(super) fn certificate(spiffe_id: String) -> Question {
    let tls = Peer { spiffe_id, min_remaining: Some(0.1) };
    Question::Hbone { credentialed: false, peer: None, tls }
}

//! Which components a path crosses, and at which of its ends.

use crate::diagnosis::component::{Component, Names};
use crate::observation::{Expected, Observation};
use crate::target::{ProbeKind, Vantage, Via};

/// No node.
pub(super) const NOWHERE: u32 = u32::MAX;
/// More far ends than this are not told apart.
const MOST_SHARED: usize = 16;

/// What kind of way it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    /// From the mesh into the mesh, by HBONE.
    Mesh,
    /// From the mesh out of it, passed through the own ztunnel.
    Passthrough,
    /// From outside into the mesh in plaintext, to be answered.
    Plaintext,
    /// The same, to be denied.
    Denied,
    /// HBONE from outside with a certificate.
    Tunnel,
    /// The certificate that HBONE shows.
    Certificate,
    /// From outside to outside: the underlay.
    Direct,
    /// CoreDNS, asked from outside.
    Dns,
    /// The captured view of DNS.
    CapturedDns,
    /// The ladder to istiod, from the mesh.
    AmbientLadder,
    /// The same from outside.
    PlainLadder,
    /// A pod's own capture.
    Capture,
    /// A pod's own HBONE socket.
    OwnHbone,
    /// What the node's ztunnel says of itself.
    Readiness,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    /// The agent's responder on the far node.
    Peer,
    /// Its port that denies plaintext.
    PeerStrict,
    /// The responder outside the mesh.
    Underlay,
    /// A CoreDNS pod.
    CorednsPod(u32),
    /// CoreDNS by its Service.
    Coredns,
    /// An istiod pod.
    IstiodPod(u32),
    /// istiod by its Service; the number tells an agent's targets apart.
    Istiod(u32),
    /// A Service.
    Service(u32),
    /// Nothing but the own node.
    Own,
    /// A target that no topology knows.
    Target(u32),
}

/// One way through the mesh, from one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Path {
    pub(super) source: u32,
    /// Node of the far end, or [`NOWHERE`].
    pub(super) far: u32,
    pub(super) vantage: Vantage,
    pub(super) class: Class,
    pub(super) subject: Subject,
    /// Whether its bodies fill packets.
    pub(super) large: bool,
}

/// At which end of a path a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum End {
    /// The near one.
    From,
    /// The far one.
    To,
    /// One of several far ends: it is met by some attempts only.
    Shared,
}

impl Path {
    /// The path of `observation`.
    pub(super) fn new(observation: &Observation, names: &mut Names) -> Self {
        let vantage = observation.vantage.unwrap_or(Vantage::Plain);
        let source = names.node(&observation.source_node);
        let subject = subject(observation, names);
        let class = class(observation, vantage, subject, names);
        let told = observation.destination_node.as_deref().map(|node| names.node(node));
        let known = match subject {
            Subject::CorednsPod(pod) => names.coredns_nodes[pod as usize],
            Subject::IstiodPod(pod) => names.istiod_nodes[pod as usize],
            Subject::Service(service) => only(&names.backends[service as usize].nodes),
            _ => None,
        };
        let large = observation.probe == ProbeKind::Mtu;
        let far = told.or(known).unwrap_or(NOWHERE);
        Self { source, far, vantage, class, subject, large }
    }

    /// Whether nothing of it leaves its node.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.class, Class::Capture | Class::OwnHbone | Class::Readiness)
    }

    /// Tells `tell` every component that it crosses, with its end and the share of attempts that
    /// meet it there; one that is several of its far ends more than once.
    pub(super) fn crossings(&self, names: &Names, tell: &mut impl FnMut(Component, End, f32)) {
        let source = self.source;
        if self.vantage == Vantage::Ambient || self.class == Class::Readiness {
            tell(Component::Ztunnel(source), End::From, 1.0);
        }
        match self.class {
            Class::Capture | Class::OwnHbone => {
                tell(Component::Capture(source), End::From, 1.0);
                tell(Component::Hbone(source), End::From, 1.0);
                tell(Component::Trust(source), End::From, 1.0);
                tell(Component::Peer(source), End::From, 1.0);
            }
            Class::Readiness => {}
            Class::Mesh => {
                tell(Component::Capture(source), End::From, 1.0);
                tell(Component::Trust(source), End::From, 1.0);
                self.far_ends(names, tell);
            }
            _ => self.far_ends(names, tell),
        }
        if !self.is_local() {
            tell(Component::Node(source), End::From, 1.0);
        }
    }

    fn far_ends(&self, names: &Names, tell: &mut impl FnMut(Component, End, f32)) {
        match self.subject {
            Subject::Peer | Subject::PeerStrict => tell(Component::PeersPolicy, End::To, 1.0),
            Subject::Service(service) => {
                tell(Component::Service(service), End::To, 1.0);
                tell(Component::ServicePolicy(service), End::To, 1.0);
            }
            Subject::CorednsPod(pod) => {
                tell(Component::CorednsPod(pod), End::To, 1.0);
                tell(Component::Coredns, End::To, 1.0);
            }
            Subject::Coredns => {
                tell(Component::Coredns, End::To, 1.0);
                pods(names.coredns.len(), Component::CorednsPod, tell);
            }
            Subject::IstiodPod(pod) => {
                tell(Component::IstiodLink(self.source), End::From, 1.0);
                tell(Component::IstiodPod(pod), End::To, 1.0);
                tell(Component::Istiod, End::To, 1.0);
            }
            Subject::Istiod(_) => {
                tell(Component::IstiodLink(self.source), End::From, 1.0);
                tell(Component::Istiod, End::To, 1.0);
                // The only pod is istiod.
                if names.istiod.len() > 1 || names.istiod_asked {
                    pods(names.istiod.len(), Component::IstiodPod, tell);
                }
                // The name may have to be resolved.
                tell(Component::Coredns, End::Shared, 1.0);
                let count = names.coredns.len();
                for pod in 0..count.min(MOST_SHARED) as u32 {
                    tell(Component::CorednsPod(pod), End::Shared, share(count));
                }
            }
            Subject::Target(target) => tell(Component::Target(target), End::To, 1.0),
            Subject::Underlay | Subject::Own => {}
        }
        if self.far != NOWHERE {
            return self.far_node(self.far, (End::To, 1.0), names, tell);
        }
        let spread: &[u32] = match self.subject {
            Subject::Service(service) => &names.backends[service as usize].nodes,
            _ => &[],
        };
        for node in spread.iter().take(MOST_SHARED) {
            self.far_node(*node, (End::Shared, share(spread.len())), names, tell);
        }
        let hosts: &[Option<u32>] = match self.subject {
            Subject::Coredns => &names.coredns_nodes,
            Subject::Istiod(_) => &names.istiod_nodes,
            _ => &[],
        };
        for node in hosts.iter().flatten().take(MOST_SHARED) {
            let end = if hosts.len() == 1 { End::To } else { End::Shared };
            self.far_node(*node, (end, share(hosts.len())), names, tell);
        }
    }

    fn far_node(
        &self,
        node: u32,
        (end, share): (End, f32),
        names: &Names,
        tell: &mut impl FnMut(Component, End, f32),
    ) {
        if node != self.source {
            tell(Component::Node(node), end, share);
            let zone = |node: u32| names.zone_of[node as usize];
            if let (Some(near), Some(far)) = (zone(self.source), zone(node))
                && near != far
            {
                tell(Component::Zone(near.min(far), near.max(far)), end, share);
            }
        }
        if matches!(
            self.class,
            Class::Mesh | Class::Plaintext | Class::Denied | Class::Tunnel | Class::Certificate
        ) {
            tell(Component::Ztunnel(node), end, share);
            tell(Component::Hbone(node), end, share);
            tell(Component::Capture(node), end, share);
            tell(Component::Trust(node), end, share);
            tell(Component::Peer(node), end, share);
            tell(Component::PeerPolicy(node), end, share);
        }
    }
}

fn only(nodes: &[u32]) -> Option<u32> {
    match nodes {
        [node] => Some(*node),
        _ => None,
    }
}

/// The share of the attempts that one of `count` meets.
fn share(count: usize) -> f32 {
    1.0 / count.max(1) as f32
}

fn pods(count: usize, pod: fn(u32) -> Component, tell: &mut impl FnMut(Component, End, f32)) {
    for number in 0..count.min(MOST_SHARED) as u32 {
        tell(pod(number), if count == 1 { End::To } else { End::Shared }, share(count));
    }
}

fn subject(observation: &Observation, names: &mut Names) -> Subject {
    let target = observation.target.as_str();
    match (observation.probe, target) {
        (ProbeKind::Capture | ProbeKind::Ztunnel, _) | (_, "capture" | "own-hbone" | "ztunnel") => {
            return Subject::Own;
        }
        (ProbeKind::Istiod, target) if target == "istiod" || !target.starts_with("istiod/") => {
            let name = observation.name.as_deref().unwrap_or(target);
            return Subject::Istiod(names.ladders.number(name));
        }
        (_, "peer" | "certificate") => return Subject::Peer,
        (_, "peer-strict") => return Subject::PeerStrict,
        (_, "underlay") => return Subject::Underlay,
        (_, "coredns") => return Subject::Coredns,
        (_, "istiod") => return Subject::Istiod(names.ladders.number(target)),
        _ => {}
    }
    match target.split_once('/') {
        Some(("coredns", pod)) => Subject::CorednsPod(names.coredns_pod(pod)),
        Some(("istiod", pod)) => {
            names.istiod_asked = true;
            Subject::IstiodPod(names.istiod_pod(pod))
        }
        Some(("service", service)) => Subject::Service(names.service(service)),
        _ => Subject::Target(names.targets.number(target)),
    }
}

fn class(observation: &Observation, vantage: Vantage, subject: Subject, names: &Names) -> Class {
    let ambient = vantage == Vantage::Ambient;
    match (observation.probe, subject) {
        (ProbeKind::Capture, _) => return Class::Capture,
        (ProbeKind::Ztunnel, _) => return Class::Readiness,
        (_, Subject::Istiod(_) | Subject::IstiodPod(_)) if ambient => return Class::AmbientLadder,
        (_, Subject::Istiod(_) | Subject::IstiodPod(_)) => return Class::PlainLadder,
        (ProbeKind::Dns, _) if ambient => return Class::CapturedDns,
        (ProbeKind::Dns, _) | (_, Subject::Coredns | Subject::CorednsPod(_)) => {
            return if ambient { Class::Passthrough } else { Class::Dns };
        }
        (_, Subject::Own) => return Class::OwnHbone,
        (ProbeKind::Hbone, _) if ambient => return Class::OwnHbone,
        (ProbeKind::Hbone, _) if observation.via == Some(Via::Hbone) => return Class::Tunnel,
        (ProbeKind::Hbone, _) => return Class::Certificate,
        _ => {}
    }
    if observation.target == "certificate" {
        return Class::Certificate;
    }
    let meshed = match subject {
        Subject::Peer | Subject::PeerStrict => true,
        Subject::Service(service) => names.backends[service as usize].ambient,
        _ => false,
    };
    match (meshed, ambient, observation.expect) {
        (true, _, Expected::Denied) => Class::Denied,
        (true, true, Expected::Reply) => Class::Mesh,
        (true, false, Expected::Reply) => Class::Plaintext,
        (false, true, _) => Class::Passthrough,
        (false, false, _) => Class::Direct,
    }
}

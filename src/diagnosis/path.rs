//! Observations summed up by path, and through which components each path goes.

use std::collections::HashMap;

use time::OffsetDateTime;

use crate::diagnosis::component::Component;
use crate::diagnosis::topology::Index;
use crate::failure::Reason;
use crate::observation::{Expected, Observation};
use crate::target::{ProbeKind, Vantage, Via};

/// What kind of way a path is: signatures speak of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    /// From the mesh to a pod in the mesh: HBONE between two ztunnels.
    Mesh,
    /// The same to a port that denies plaintext.
    MeshStrict,
    /// The same with bodies above one packet.
    MeshLarge,
    /// From the mesh to a pod outside, through the own ztunnel.
    Captured,
    /// From outside in plaintext to a pod in the mesh.
    Plaintext,
    /// The same where it must be denied.
    Denied,
    /// From outside by HBONE with a certificate.
    Tunnel,
    /// The same to a port that denies plaintext.
    TunnelStrict,
    /// From outside to port 15008 without a certificate.
    Certificate,
    /// From outside to a pod outside.
    Underlay,
    /// A question to CoreDNS.
    Dns,
    /// A question that the own ztunnel answers.
    CapturedDns,
    /// The ladder to istiod from outside.
    Istiod,
    /// The same through the own ztunnel.
    CapturedIstiod,
    /// The capture of the own pod, in the mesh.
    Capture,
    /// The own HBONE socket.
    OwnHbone,
    /// The own ztunnel's readiness.
    Ztunnel,
}

/// Which part of a path a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    /// At its near end.
    Near,
    /// At its far end.
    Far,
    /// What is asked, or in between.
    On,
}

/// A component on a path; with a share below 1 not every attempt meets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing {
    pub(super) component: Component,
    pub(super) role: Role,
    pub(super) share: f64,
}

/// All that was seen of one path.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub(super) source: u32,
    pub(super) ambient: bool,
    pub(super) class: Class,
    /// Nodes of the far end.
    pub(super) far: Far,
    /// Index of the CoreDNS or istiod replica, if it is one.
    replica: Option<u32>,
    service: Option<u32>,
    pub(super) met: u64,
    pub(super) violated: u64,
    pub(super) reasons: Vec<(Reason, u64)>,
    /// When the first window with a failure began.
    pub(super) since: Option<OffsetDateTime>,
}

/// Where the far end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Far {
    /// Nowhere, or not known.
    Nowhere,
    /// On a node.
    Node(u32),
    /// On the nodes of the path's service, one after the other.
    Endpoints,
}

type Key<'a> = (u32, bool, ProbeKind, &'a str, Option<&'a str>, Option<Via>, Expected);

/// Sums `observations` up. Those of targets that no component is known for are left out.
pub(super) fn paths(observations: &[Observation], index: &Index) -> Vec<Path> {
    let mut all: Vec<Path> = Vec::new();
    let mut known: HashMap<Key<'_>, Option<usize>> = HashMap::new();
    for observation in observations {
        let Some(source) = index.node(&observation.source_node) else { continue };
        let ambient = observation.vantage == Some(Vantage::Ambient);
        let key = (
            source,
            ambient,
            observation.probe,
            observation.target.as_str(),
            observation.destination_node.as_deref(),
            observation.via,
            observation.expect,
        );
        let at = *known.entry(key).or_insert_with(|| {
            let path = path(observation, source, ambient, index)?;
            all.push(path);
            Some(all.len() - 1)
        });
        if let Some(at) = at {
            all[at].add(observation);
        }
    }
    all
}

fn path(observation: &Observation, source: u32, ambient: bool, index: &Index) -> Option<Path> {
    let target = observation.target.as_str();
    let service = target.strip_prefix("service/").and_then(|name| index.service(name));
    let class = class(observation, ambient, service.map(|it| &index.services[it as usize]))?;
    let replicas = match class {
        Class::Dns | Class::CapturedDns => &index.coredns,
        _ => &index.istiod,
    };
    let pod = target.split_once('/').map(|(_, pod)| pod);
    let replica = match class {
        Class::Dns | Class::Istiod | Class::CapturedIstiod => pod
            .and_then(|pod| replicas.iter().position(|(name, _)| name == pod).map(|at| at as u32)),
        _ => None,
    };
    let stated = observation.destination_node.as_deref().and_then(|node| index.node(node));
    let far = match (stated, service) {
        (Some(node), _) => Far::Node(node),
        (None, Some(service)) => match index.services[service as usize].nodes.as_slice() {
            [] => Far::Nowhere,
            [only] => Far::Node(*only),
            _ => Far::Endpoints,
        },
        (None, None) => {
            replica.and_then(|replica| replicas[replica as usize].1).map_or(Far::Nowhere, Far::Node)
        }
    };
    Some(Path {
        source,
        ambient,
        class,
        far,
        replica,
        service,
        met: 0,
        violated: 0,
        reasons: Vec::new(),
        since: None,
    })
}

fn class(
    observation: &Observation,
    ambient: bool,
    service: Option<&super::topology::Indexed>,
) -> Option<Class> {
    let kind = observation.target.split('/').next().unwrap_or_default();
    let denied = observation.expect == Expected::Denied;
    let tunnel = observation.probe == ProbeKind::Hbone;
    let in_mesh = match kind {
        "peer" | "peer-strict" => true,
        "service" => service.is_none_or(|service| service.ambient),
        _ => false,
    };
    Some(match (kind, ambient) {
        ("coredns", true) => Class::CapturedDns,
        ("coredns", false) => Class::Dns,
        ("istiod", true) => Class::CapturedIstiod,
        ("istiod", false) => Class::Istiod,
        ("certificate", _) => Class::Certificate,
        ("capture", true) => Class::Capture,
        ("own-hbone", _) => Class::OwnHbone,
        ("ztunnel", _) => Class::Ztunnel,
        ("underlay", true) => Class::Captured,
        ("underlay", false) => Class::Underlay,
        ("service", true) if !in_mesh => Class::Captured,
        ("service", false) if !in_mesh => Class::Underlay,
        ("peer" | "peer-strict" | "service", true) => match observation.probe {
            ProbeKind::Mtu => Class::MeshLarge,
            _ if kind == "peer-strict" => Class::MeshStrict,
            _ => Class::Mesh,
        },
        ("peer" | "peer-strict" | "service", false) => match (tunnel, denied) {
            (true, _) if kind == "peer-strict" => Class::TunnelStrict,
            (true, _) => Class::Tunnel,
            (false, true) => Class::Denied,
            (false, false) => Class::Plaintext,
        },
        _ => return None,
    })
}

impl Path {
    fn add(&mut self, observation: &Observation) {
        self.met += observation.verdicts.met;
        self.violated += observation.verdicts.violated;
        if observation.verdicts.violated == 0 {
            return;
        }
        let start = observation.window_start;
        self.since = Some(self.since.map_or(start, |since| since.min(start)));
        for (reason, count) in &observation.reasons {
            // Reasons of what was inconclusive are told too; they are our own or a control's.
            match self.reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, sum)) => *sum += count,
                None => self.reasons.push((*reason, *count)),
            }
        }
    }

    /// Everything that can be blamed for it.
    pub(super) fn crossings(&self, index: &Index) -> Vec<Crossing> {
        use Component::*;
        let mut all = Vec::with_capacity(16);
        let mut add = |component, role, share| all.push(Crossing { component, role, share });
        let near = self.source;
        add(Node(near), Role::Near, 1.0);
        if self.ambient || self.class == Class::Ztunnel {
            add(Ztunnel(near), Role::Near, 1.0);
        }
        if self.ambient {
            add(Capture(near), Role::Near, 1.0);
            add(Hbone(near), Role::Near, 1.0);
            add(NodeWorkload(near), Role::Near, 1.0);
        }
        add(Trust(near), Role::Near, 1.0);
        match self.class {
            Class::Istiod | Class::CapturedIstiod => {
                add(IstiodLink(near), Role::Near, 1.0);
                self.replicas(&index.istiod, Istiod, IstiodPod, &mut add);
            }
            Class::Dns | Class::CapturedDns => {
                self.replicas(&index.coredns, Coredns, CorednsPod, &mut add);
            }
            _ => {}
        }
        if let Some(service) = self.service {
            add(Workload(service), Role::On, 1.0);
            add(Policy(service), Role::On, 1.0);
        } else if matches!(self.class, Class::Plaintext | Class::Mesh | Class::Denied) {
            add(PeerPolicy, Role::On, 1.0);
        }
        for (node, share) in self.far_nodes(index) {
            add(Node(node), Role::Far, share);
            add(Ztunnel(node), Role::Far, share);
            add(Hbone(node), Role::Far, share);
            add(Capture(node), Role::Far, share);
            add(Trust(node), Role::Far, share);
            add(NodeWorkload(node), Role::Far, share);
            add(NodePolicy(node), Role::Far, share);
            if let (Some(a), Some(b)) = (index.zone(near), index.zone(node))
                && a != b
            {
                add(Zone(a.min(b), a.max(b)), Role::On, share);
            }
        }
        all
    }

    /// Nodes of the far end, each with its share of the attempts.
    fn far_nodes(&self, index: &Index) -> Vec<(u32, f64)> {
        match (self.far, self.service) {
            (Far::Node(node), _) => vec![(node, 1.0)],
            (Far::Endpoints, Some(service)) => {
                let nodes = &index.services[service as usize].nodes;
                let mut shares: Vec<(u32, f64)> = Vec::new();
                for node in nodes {
                    let one = 1.0 / nodes.len() as f64;
                    match shares.iter_mut().find(|(known, _)| known == node) {
                        Some((_, share)) => *share += one,
                        None => shares.push((*node, one)),
                    }
                }
                shares
            }
            (Far::Endpoints, None) | (Far::Nowhere, _) => Vec::new(),
        }
    }

    fn replicas(
        &self,
        replicas: &[(String, Option<u32>)],
        all: Component,
        one: fn(u32) -> Component,
        add: &mut impl FnMut(Component, Role, f64),
    ) {
        add(all, Role::On, 1.0);
        match self.replica {
            Some(replica) => add(one(replica), Role::On, 1.0),
            // Through the Service each replica gets its share.
            None => {
                let share = 1.0 / replicas.len().max(1) as f64;
                (0..replicas.len() as u32).for_each(|replica| add(one(replica), Role::On, share));
            }
        }
    }

    /// Conclusive attempts.
    pub(super) fn attempts(&self) -> u64 {
        self.met + self.violated
    }
}

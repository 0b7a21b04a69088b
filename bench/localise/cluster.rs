//! A simulated cluster: who asks whom, and what is seen while something is broken.

use std::collections::BTreeMap;

use meshprobe::diagnosis::{Endpoint, Node, Pod, Service, Topology};
use meshprobe::failure::Reason;
use meshprobe::observation::{Expected, Observation, Verdicts};
use meshprobe::target::{ProbeKind, Vantage, Via};
use meshprobe::topology;
use time::OffsetDateTime;

use super::faults::Fault;
use super::random::Random;

const ATTEMPTS: u64 = 12;
const BACKGROUND: f64 = 1e-4;
const PEERS: usize = 10;
const ZONES: usize = 4;
const SERVICES: usize = 6;
const ENDPOINTS: usize = 3;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Peer,
    Strict,
    Held,
    Large,
    Underlay,
    Certificate,
    Coredns(usize),
    Names,
    Istiod(Option<usize>),
    /// A service, and which endpoint if it is not asked by its address.
    Service(usize, Option<usize>),
    Capture,
    OwnHbone,
    Ztunnel,
}

/// One path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) source: usize,
    pub(crate) ambient: bool,
    /// Whether it goes by HBONE from outside.
    pub(crate) tunnel: bool,
    pub(crate) what: What,
    pub(crate) far: Option<usize>,
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<String>,
    pub(crate) zone_of: Vec<usize>,
    pub(crate) coredns: Vec<usize>,
    pub(crate) istiod: Vec<usize>,
    /// Nodes of each service's pods.
    pub(crate) services: Vec<Vec<usize>>,
    pub(crate) paths: Vec<Path>,
    pub(crate) topology: Topology,
}

pub(crate) fn zone_name(zone: usize) -> String {
    format!("zone-{zone}")
}

pub(crate) fn service_name(service: usize) -> String {
    format!("shop/service-{service}")
}

impl Cluster {
    pub(crate) fn new(count: usize) -> Self {
        let nodes: Vec<String> = (0..count).map(|n| format!("node-{n:04}")).collect();
        let zone_of: Vec<usize> = (0..count).map(|n| n % ZONES).collect();
        let replicas = (count / 100).clamp(2, 8);
        let coredns: Vec<usize> = (0..replicas).map(|n| (n * 7 + 1) % count).collect();
        let istiod = vec![3 % count, count / 2];
        let services: Vec<Vec<usize>> = (0..SERVICES)
            .map(|s| {
                (0..ENDPOINTS).map(|e| (s * 13 + e * (count / ENDPOINTS) + 5) % count).collect()
            })
            .collect();
        let topology = described(&nodes, &zone_of, &coredns, &istiod, &services);
        let mut cluster =
            Self { nodes, zone_of, coredns, istiod, services, paths: Vec::new(), topology };
        cluster.paths = cluster.all_paths();
        cluster
    }

    fn all_paths(&self) -> Vec<Path> {
        let zones: Vec<String> = self.zone_of.iter().map(|zone| zone_name(*zone)).collect();
        let named = self.nodes.iter().zip(&zones).map(|(n, z)| (n.as_str(), Some(z.as_str())));
        let peers = topology::Topology::new(named, 8, PEERS);
        let mut paths = Vec::new();
        for (source, name) in self.nodes.iter().enumerate() {
            // Their names sort as their numbers do.
            let place = |peer: &str| self.nodes.binary_search_by(|node| node.as_str().cmp(peer));
            let all = peers.peers(name).map(|peer| place(peer).expect("one of them"));
            let all: Vec<usize> = all.collect();
            self.of_ambient(source, &all, &mut paths);
            self.of_plain(source, &all, &mut paths);
        }
        paths
    }

    fn of_ambient(&self, source: usize, peers: &[usize], paths: &mut Vec<Path>) {
        let mut add =
            |what, far| paths.push(Path { source, ambient: true, tunnel: false, what, far });
        for peer in peers {
            for what in [What::Peer, What::Strict, What::Underlay] {
                add(what, Some(*peer));
            }
        }
        for what in [What::Held, What::Large] {
            add(what, peers.first().copied());
        }
        (0..self.services.len()).for_each(|s| add(What::Service(s, None), None));
        for what in [What::Names, What::Istiod(None)] {
            add(what, None);
        }
        for what in [What::Capture, What::OwnHbone] {
            add(what, Some(source));
        }
    }

    fn of_plain(&self, source: usize, peers: &[usize], paths: &mut Vec<Path>) {
        let mut add = |tunnel, what, far| {
            paths.push(Path { source, ambient: false, tunnel, what, far });
        };
        for peer in peers {
            for what in [What::Peer, What::Strict] {
                add(false, what, Some(*peer));
                add(true, what, Some(*peer));
            }
            add(true, What::Certificate, Some(*peer));
            add(false, What::Underlay, Some(*peer));
        }
        for (service, nodes) in self.services.iter().enumerate() {
            let endpoint = (source + service) % nodes.len();
            for tunnel in [false, true] {
                add(tunnel, What::Service(service, Some(endpoint)), Some(nodes[endpoint]));
            }
        }
        (0..self.coredns.len()).for_each(|pod| add(false, What::Coredns(pod), None));
        add(false, What::Istiod(None), None);
        (0..self.istiod.len()).for_each(|pod| add(false, What::Istiod(Some(pod)), None));
        add(false, What::Ztunnel, Some(source));
    }

    /// What a minute of all agents shows.
    pub(crate) fn observe(&self, faults: &[Fault], random: &mut Random) -> Vec<Observation> {
        self.paths.iter().map(|path| self.observed(path, faults, random)).collect()
    }

    fn observed(&self, path: &Path, faults: &[Fault], random: &mut Random) -> Observation {
        let denied = !path.ambient && !path.tunnel && path.what == What::Strict;
        let mut seen = self.blank(path, denied);
        // Drawn once per path: what a pooled connection hides, it hides for the whole minute.
        let effects: Vec<_> =
            faults.iter().filter_map(|fault| fault.on(path, self, random)).collect();
        for _ in 0..ATTEMPTS {
            let failed = effects.iter().find(|(rate, _)| random.unit() < *rate);
            let reasons = failed.map(|(_, reasons)| *reasons);
            let stray = random.unit() < BACKGROUND;
            let reasons = reasons.or(stray.then_some(&[Reason::Timeout, Reason::Reset][..]));
            let Some(reasons) = reasons else {
                seen.verdicts.met += 1;
                continue;
            };
            let reason = reasons[random.below(reasons.len())];
            *seen.reasons.entry(reason).or_default() += 1;
            // A denial whose control fails too can be told from death by nobody.
            if denied && reason != Reason::UnexpectedReply {
                seen.verdicts.inconclusive += 1;
            } else {
                seen.verdicts.violated += 1;
            }
        }
        seen
    }

    fn blank(&self, path: &Path, denied: bool) -> Observation {
        let probe = match path.what {
            What::Coredns(_) | What::Names => ProbeKind::Dns,
            What::Istiod(_) => ProbeKind::Istiod,
            What::Held => ProbeKind::Hold,
            What::Large => ProbeKind::Mtu,
            What::Capture => ProbeKind::Capture,
            What::Ztunnel => ProbeKind::Ztunnel,
            What::OwnHbone | What::Certificate => ProbeKind::Hbone,
            _ if path.tunnel => ProbeKind::Hbone,
            _ => ProbeKind::Http,
        };
        let via = match (path.what, path.tunnel) {
            (What::Service(_, None), _) => Via::ClusterIp,
            (_, true) => Via::Hbone,
            (_, false) => Via::PodIp,
        };
        Observation {
            source_node: self.nodes[path.source].clone(),
            vantage: Some(if path.ambient { Vantage::Ambient } else { Vantage::Plain }),
            probe,
            target: self.target(path.what),
            destination_node: path.far.map(|node| self.nodes[node].clone()),
            via: Some(via),
            expect: if denied { Expected::Denied } else { Expected::Reply },
            window_start: OffsetDateTime::UNIX_EPOCH,
            window_seconds: 60,
            attempts: ATTEMPTS,
            verdicts: Verdicts::default(),
            name: None,
            reasons: BTreeMap::new(),
            latency_seconds: None,
            digest: None,
        }
    }

    fn target(&self, what: What) -> String {
        match what {
            What::Peer | What::Held | What::Large => "peer".to_owned(),
            What::Strict => "peer-strict".to_owned(),
            What::Underlay => "underlay".to_owned(),
            What::Certificate => "certificate".to_owned(),
            What::Names => "coredns".to_owned(),
            What::Coredns(pod) => format!("coredns/coredns-{pod}"),
            What::Istiod(None) => "istiod".to_owned(),
            What::Istiod(Some(pod)) => format!("istiod/istiod-{pod}"),
            What::Service(service, _) => format!("service/{}", service_name(service)),
            What::Capture => "capture".to_owned(),
            What::OwnHbone => "own-hbone".to_owned(),
            What::Ztunnel => "ztunnel".to_owned(),
        }
    }
}

fn described(
    nodes: &[String],
    zone_of: &[usize],
    coredns: &[usize],
    istiod: &[usize],
    services: &[Vec<usize>],
) -> Topology {
    let replicas = |kind: &str, places: &[usize]| {
        let all = places.iter().enumerate();
        let one = |(n, at): (usize, &usize)| Pod {
            pod: format!("{kind}-{n}"),
            node: Some(nodes[*at].clone()),
        };
        all.map(one).collect::<Vec<_>>()
    };
    let service = |(number, places): (usize, &Vec<usize>)| {
        let name = service_name(number);
        let (namespace, name) = name.split_once('/').expect("both");
        Service {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ambient: true,
            mode: None,
            endpoints: places
                .iter()
                .map(|at| Endpoint { node: Some(nodes[*at].clone()) })
                .collect(),
        }
    };
    let node =
        |(name, zone): (&String, &usize)| Node { name: name.clone(), zone: Some(zone_name(*zone)) };
    Topology {
        nodes: nodes.iter().zip(zone_of).map(node).collect(),
        coredns: replicas("coredns", coredns),
        istiod: replicas("istiod", istiod),
        services: services.iter().enumerate().map(service).collect(),
        agents: Vec::new(),
    }
}

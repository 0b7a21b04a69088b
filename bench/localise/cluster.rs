//! A simulated cluster: who probes what, and what is seen of it.

use meshprobe::diagnosis::Topology;
use meshprobe::failure::Reason;
use meshprobe::observation::{Expected, Observation};
use meshprobe::target::{ProbeKind, Vantage, Via};
use meshprobe::topology;
use serde_json::json;

use crate::faults::{Fault, Sight};
use crate::random::Random;

const PEERS: usize = 10;
const ZONES: usize = 3;
const SERVICES: usize = 12;
/// Attempts that fail though nothing is broken.
const BACKGROUND: f64 = 1e-4;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Peer,
    Strict,
    Underlay,
    Hbone,
    Certificate,
    Service(usize),
    CorednsPod(usize),
    Names,
    IstiodPod(usize),
    Istiod,
    Capture,
    OwnHbone,
    Readiness,
}

/// One probe's way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) from: usize,
    pub(crate) vantage: Vantage,
    pub(crate) ask: Ask,
    pub(crate) to: Option<usize>,
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<String>,
    pub(crate) zones: Vec<usize>,
    pub(crate) coredns: Vec<usize>,
    pub(crate) istiod: Vec<usize>,
    /// Nodes of each Service's pods; those with an even number are in the mesh.
    pub(crate) services: Vec<Vec<usize>>,
    pub(crate) topology: Topology,
    ways: Vec<Way>,
}

impl Cluster {
    pub(crate) fn new(count: usize) -> Self {
        let nodes: Vec<String> = (0..count).map(|n| format!("node-{n:04}")).collect();
        let zones: Vec<usize> = (0..count).map(|n| n % ZONES).collect();
        let coredns: Vec<usize> = (0..4).map(|pod| (7 + pod * 23) % count).collect();
        let istiod: Vec<usize> = (0..3).map(|pod| (11 + pod * 31) % count).collect();
        let services: Vec<Vec<usize>> = (0..SERVICES)
            .map(|s| (0..1 + s % 3).map(|pod| (s * 5 + pod * 29 + 3) % count).collect())
            .collect();
        let pod = |kind: &str, list: &[usize]| -> Vec<serde_json::Value> {
            let named = list.iter().enumerate();
            named
                .map(|(pod, node)| json!({"pod": format!("{kind}-{pod}"), "node": nodes[*node]}))
                .collect()
        };
        let topology = json!({
            "nodes": (0..count).map(|n| json!({"name": nodes[n], "zone": format!("zone-{}", zones[n])})).collect::<Vec<_>>(),
            "coredns": pod("coredns", &coredns),
            "istiod": pod("istiod", &istiod),
            "services": services.iter().enumerate().map(|(s, pods)| json!({
                "namespace": "default", "name": format!("service-{s}"), "ambient": s % 2 == 0,
                "mode": "PERMISSIVE",
                "endpoints": pods.iter().map(|node| json!({"node": nodes[*node]})).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        });
        let topology = Topology::read(topology.to_string().as_bytes()).expect("a topology");
        let mut cluster =
            Self { nodes, zones, coredns, istiod, services, topology, ways: Vec::new() };
        cluster.ways = cluster.plan();
        cluster
    }

    fn plan(&self) -> Vec<Way> {
        let zone = |n: usize| ["a", "b", "c"][self.zones[n]];
        let named = self.nodes.iter().enumerate().map(|(n, name)| (name.as_str(), Some(zone(n))));
        let edges = topology::Topology::new(named, 10, PEERS);
        let number = |name: &str| name["node-".len()..].parse::<usize>().expect("a number");
        let mut ways = Vec::new();
        for (from, name) in self.nodes.iter().enumerate() {
            for vantage in Vantage::ALL {
                let mut add = |ask, to| ways.push(Way { from, vantage, ask, to });
                let ambient = vantage == Vantage::Ambient;
                for peer in edges.peers(name) {
                    let to = Some(number(peer));
                    add(Ask::Peer, to);
                    add(Ask::Strict, to);
                    add(Ask::Underlay, to);
                    if !ambient {
                        add(Ask::Hbone, to);
                        add(Ask::Certificate, to);
                    }
                }
                for step in 0..4 {
                    add(Ask::Service((from + step * 3) % SERVICES), None);
                }
                add(Ask::Istiod, None);
                add(Ask::Capture, Some(from));
                if ambient {
                    add(Ask::Names, None);
                    add(Ask::OwnHbone, Some(from));
                } else {
                    (0..self.coredns.len()).for_each(|pod| add(Ask::CorednsPod(pod), None));
                    (0..self.istiod.len()).for_each(|pod| add(Ask::IstiodPod(pod), None));
                    add(Ask::Readiness, Some(from));
                }
            }
        }
        ways
    }

    /// Tells `tell` what is seen of every way in one window.
    pub(crate) fn observe(
        &self,
        faults: &[Fault],
        attempts: u32,
        random: &mut Random,
        mut tell: impl FnMut(&Way, &Observation),
    ) {
        let mut seen: Observation = serde_json::from_value(json!({
            "source_node": "", "vantage": "plain", "probe": "http", "target": "",
            "destination_node": null, "via": "pod_ip", "expect": "reply",
            "window_start": "2026-01-01T00:00:00Z", "window_seconds": 300, "attempts": attempts,
            "verdicts": {"met": 0, "violated": 0, "inconclusive": 0}, "reasons": {},
        }))
        .expect("an observation");
        for way in &self.ways {
            if faults.iter().any(|fault| fault.silences(way)) {
                continue;
            }
            self.label(way, &mut seen);
            seen.reasons.clear();
            seen.verdicts = Default::default();
            let acting: Vec<Acting> = faults
                .iter()
                .filter(|fault| fault.may_hit(self, way))
                .map(|fault| Acting { fault, pooled: random.chance(0.4) })
                .collect();
            for _ in 0..attempts {
                let sight = acting
                    .iter()
                    .map(|acting| acting.fault.hit(self, way, acting.pooled, random))
                    .find(|sight| *sight != Sight::Met)
                    .unwrap_or_else(|| background(random));
                match sight {
                    Sight::Met => seen.verdicts.met += 1,
                    Sight::Failed(reason) => {
                        seen.verdicts.violated += 1;
                        *seen.reasons.entry(reason).or_default() += 1;
                    }
                    Sight::Unsure(reason) => {
                        seen.verdicts.inconclusive += 1;
                        *seen.reasons.entry(reason).or_default() += 1;
                    }
                }
            }
            tell(way, &seen);
        }
    }

    fn label(&self, way: &Way, seen: &mut Observation) {
        let ambient = way.vantage == Vantage::Ambient;
        let (probe, target, via) = match way.ask {
            Ask::Peer => (ProbeKind::Http, "peer".to_owned(), Via::PodIp),
            Ask::Strict => (ProbeKind::Http, "peer-strict".to_owned(), Via::PodIp),
            Ask::Underlay => (ProbeKind::Http, "underlay".to_owned(), Via::PodIp),
            Ask::Hbone => (ProbeKind::Hbone, "peer".to_owned(), Via::Hbone),
            Ask::Certificate => (ProbeKind::Hbone, "certificate".to_owned(), Via::PodIp),
            Ask::Service(s) => {
                (ProbeKind::Http, format!("service/default/service-{s}"), Via::ClusterIp)
            }
            Ask::CorednsPod(pod) => (ProbeKind::Dns, format!("coredns/coredns-{pod}"), Via::PodIp),
            Ask::Names => (ProbeKind::Dns, "coredns".to_owned(), Via::ClusterIp),
            Ask::IstiodPod(pod) => (ProbeKind::Istiod, format!("istiod/istiod-{pod}"), Via::PodIp),
            Ask::Istiod => (ProbeKind::Istiod, "istiod".to_owned(), Via::ClusterIp),
            Ask::Capture => (ProbeKind::Capture, "capture".to_owned(), Via::PodIp),
            Ask::OwnHbone => (ProbeKind::Hbone, "own-hbone".to_owned(), Via::PodIp),
            Ask::Readiness => (ProbeKind::Ztunnel, "ztunnel".to_owned(), Via::PodIp),
        };
        seen.source_node.clone_from(&self.nodes[way.from]);
        seen.vantage = Some(way.vantage);
        seen.destination_node = way.to.map(|to| self.nodes[to].clone());
        let denied = way.ask == Ask::Strict && !ambient;
        seen.expect = if denied { Expected::Denied } else { Expected::Reply };
        (seen.probe, seen.target, seen.via) = (probe, target, Some(via));
    }
}

struct Acting<'a> {
    fault: &'a Fault,
    /// Whether this way has a pooled connection that outlives certificates.
    pooled: bool,
}

fn background(random: &mut Random) -> Sight {
    if !random.chance(BACKGROUND) {
        return Sight::Met;
    }
    Sight::Failed(random.one_of(&[Reason::Timeout, Reason::Reset, Reason::Closed, Reason::Refused]))
}

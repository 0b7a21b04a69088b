//! A fleet that is heard of and not there: what a controller's memory holds of so many nodes, one
//! of which has lost its ztunnel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use meshprobe::cluster::{Agent, Cluster, Enrolment, Labels, Pod, Redirection};
use meshprobe::diagnosis::{self, Report, Topology, diagnose};
use meshprobe::digest::Digest;
use meshprobe::evidence::{Evidence, Source as Place, Telling};
use meshprobe::failure::Reason;
use meshprobe::gate::tally::Tally;
use meshprobe::gate::{self, Scope, Settings, Standing, judge};
use meshprobe::incident::Incident;
use meshprobe::observation::{Expected, Observation, Verdicts};
use meshprobe::page::{Known, MOST_WINDOWS, Node, Past, Paths, Source, Whose};
use meshprobe::target::{ProbeKind, Vantage, Via};
use time::OffsetDateTime;

/// Peers of each agent.
const PEERS: usize = 10;
/// Zones.
const ZONES: usize = 3;
const SECONDS: i64 = 10;
/// How far back the gate looks.
const WINDOW: Duration = Duration::from_secs(300);

/// Rows that are asked of each peer: name, what they are of, whether they cross a ztunnel.
const AMBIENT: [(&str, &str, bool); 3] =
    [("peer", "peer", true), ("canary", "peer-strict", true), ("plain-peer", "underlay", false)];
const PLAIN: [(&str, &str, bool); 6] = [
    ("peer", "peer", true),
    ("canary", "peer-strict", true),
    ("plain-peer", "underlay", false),
    ("hbone", "peer", true),
    ("hbone-canary", "peer-strict", true),
    ("certificate", "certificate", true),
];
/// And those that are asked once.
const ONCE: [(&str, &str); 9] = [
    ("istiod", "istiod"),
    ("istiod-name", "istiod"),
    ("names", "coredns"),
    ("coredns-udp/coredns-1", "coredns/coredns-1"),
    ("coredns-tcp/coredns-1", "coredns/coredns-1"),
    ("capture", "capture"),
    ("service/default/web:80", "service/default/web"),
    ("service/default/api:80", "service/default/api"),
    ("service/monitoring/prometheus:9090", "service/monitoring/prometheus"),
];

/// A fleet.
pub(crate) struct Fleet {
    evidence: Evidence,
    nodes: Vec<String>,
    cluster: Cluster,
    report: Report,
    tally: Tally,
    gate: Option<gate::Report>,
    at: OffsetDateTime,
}

impl Fleet {
    /// Of `nodes` nodes, the last of which is called `last`; `windows` windows of each path.
    pub(crate) fn new(nodes: usize, last: &str, windows: u32) -> Self {
        let mut names: Vec<String> = (1..nodes)
            .map(|at| format!("ip-10-0-{}-{}.compute.internal", at >> 8, at & 255))
            .collect();
        names.push(last.to_owned());
        let at = OffsetDateTime::now_utc();
        let evidence = Evidence::default();
        for node in 0..nodes {
            for vantage in Vantage::ALL {
                let place = Place { node: names[node].clone(), vantage };
                for window in (0..windows).rev() {
                    let start = at - time::Duration::seconds(SECONDS * i64::from(window + 1));
                    let told = told(&names, node, vantage, start);
                    let telling = Telling { observations: &told, whole: true, as_of: None };
                    evidence.hear(&place, telling, at);
                }
            }
        }
        let mut tally = Tally::new(at - WINDOW);
        for place in evidence.sources() {
            let agent = format!("{}/{}", place.node, place.vantage);
            tally.take(&agent, &evidence.of(&place, at - WINDOW), at);
        }
        let seen = evidence.observations(at - Duration::from_secs(60));
        let report = diagnose(&topology(&names), &seen, at);
        let cluster = cluster(&names);
        let mut fleet = Self { evidence, nodes: names, cluster, report, tally, gate: None, at };
        fleet.gate = Some(fleet.judged(Scope::Mesh));
        fleet
    }

    /// The node whose ztunnel is gone.
    pub(crate) fn broken(&self) -> &str {
        &self.nodes[broken(self.nodes.len())]
    }

    fn standings(&self) -> impl Iterator<Item = Standing> {
        let age = Some(Duration::from_secs(1));
        let agents = self.cluster.agents.iter();
        agents.map(move |agent| Standing {
            node: agent.pod.node.clone(),
            vantage: agent.vantage,
            linked: true,
            age,
        })
    }

    /// What a controller would have the page made from.
    pub(crate) fn seen(&self) -> Known {
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        for (name, node) in &self.cluster.nodes {
            let node = Node { zone: node.zone.clone(), ready: Some(true), agents: Vec::new() };
            nodes.insert(name.clone(), node);
        }
        for standing in self.standings() {
            nodes.get_mut(&standing.node).expect("a node").agents.push(standing);
        }
        let incident = |id, component: &str, ago: i64, closed: Option<i64>| Incident {
            id,
            component: component.to_owned(),
            fault: "dead".to_owned(),
            since: self.at - time::Duration::seconds(ago),
            opened_at: self.at - time::Duration::seconds(ago - 5),
            seen_at: self.at,
            closed_at: closed.map(|ago| self.at - time::Duration::seconds(ago)),
            confidence: 0.97,
            summary: "It is gone: its sockets refuse".to_owned(),
        };
        let open = format!("ztunnel/{}", self.broken());
        Known {
            blind: None,
            concluded: Some((self.at, self.report.clone())),
            open: vec![incident(2, &open, 110, None)],
            closed: vec![incident(1, "coredns/coredns-1", 900, Some(620))],
            namespaces: vec!["default".to_owned(), "monitoring".to_owned()],
            paths: Paths::of(&self.evidence, &nodes, self.at),
            nodes,
            ..Known::blind("", self.at)
        }
    }

    /// What a controller's gate would say of the mesh.
    pub(crate) fn judged(&self, scope: Scope) -> gate::Report {
        judge(&gate::Evidence {
            scope,
            now: self.at,
            window: WINDOW,
            settings: Settings::default(),
            cluster: &self.cluster,
            root_namespace: "istio-system",
            own_namespaces: &BTreeSet::new(),
            agents: self.standings().collect(),
            observations: &self.evidence.totals(self.at - WINDOW),
            lately: &self.evidence.totals(self.at - Duration::from_secs(60)),
            tally: &self.tally,
            flows: None,
            unprobed: Vec::new(),
        })
    }
}

impl Source for Fleet {
    async fn known(&self) -> Known {
        self.seen()
    }

    async fn past(&self, _at: OffsetDateTime) -> Result<Past, String> {
        Err("nothing is kept".to_owned())
    }

    async fn gate(&self, _scope: Scope) -> Result<gate::Report, String> {
        // A controller judges beside the page, and shows the last report.
        Ok(self.gate.clone().expect("judged when it was made"))
    }

    async fn windows(&self, whose: Whose) -> Vec<Observation> {
        let (places, name) = match &whose {
            Whose::Node(node) => {
                (Vantage::ALL.map(|vantage| Place { node: node.clone(), vantage }).into(), None)
            }
            Whose::Target { vantage, name } => {
                let places = self.evidence.sources().into_iter();
                (
                    places.filter(|it| it.vantage == *vantage).collect::<Vec<_>>(),
                    Some(name.as_str()),
                )
            }
        };
        places.iter().flat_map(|it| self.evidence.lately(it, name, MOST_WINDOWS)).collect()
    }
}

/// The place of the node without a ztunnel.
fn broken(nodes: usize) -> usize {
    nodes / 3
}

/// What one agent tells of the window that began at `start`.
fn told(
    names: &[String],
    node: usize,
    vantage: Vantage,
    start: OffsetDateTime,
) -> Vec<Observation> {
    let broken = broken(names.len());
    let rows: &[(&str, &str, bool)] = if vantage == Vantage::Ambient { &AMBIENT } else { &PLAIN };
    let mut told = Vec::new();
    for peer in 1..=PEERS.min(names.len() - 1) {
        let to = (node + peer * 7) % names.len();
        for (row, target, crosses) in rows {
            let gone =
                (*crosses && to == broken) || (vantage == Vantage::Ambient && node == broken);
            let denied = vantage == Vantage::Plain && *row == "canary";
            let name = format!("{row}/{}", names[to]);
            let attempts = (*target, Some(names[to].clone()), denied, gone);
            told.push(window(name, attempts, start, node * 31 + peer));
        }
    }
    for (name, target) in ONCE {
        let gone = vantage == Vantage::Ambient && node == broken;
        told.push(window(name.to_owned(), (target, None, false, gone), start, node));
    }
    told
}

fn window(
    name: String,
    (target, destination_node, denied, gone): (&str, Option<String>, bool, bool),
    start: OffsetDateTime,
    salt: usize,
) -> Observation {
    let mut digest = Digest::default();
    (0..2)
        .for_each(|at| digest.add(Duration::from_micros(700 + (salt * 17 + at * 97) as u64 % 900)));
    // What must be denied cannot tell without its positive control.
    let verdicts = match (gone, denied) {
        (false, _) => Verdicts { met: 2, ..Verdicts::default() },
        (true, false) => Verdicts { violated: 2, ..Verdicts::default() },
        (true, true) => Verdicts { inconclusive: 2, ..Verdicts::default() },
    };
    Observation {
        source_node: String::new(),
        vantage: None,
        probe: if target.starts_with("coredns") { ProbeKind::Dns } else { ProbeKind::Http },
        target: target.to_owned(),
        name: Some(name),
        destination_node,
        via: Some(Via::PodIp),
        expect: if denied { Expected::Denied } else { Expected::Reply },
        window_start: start,
        window_seconds: SECONDS as u64,
        attempts: 2,
        verdicts,
        reasons: gone.then_some((Reason::Refused, 2)).into_iter().collect(),
        latency_seconds: None,
        digest: (!gone).then_some(digest),
    }
}

fn zone(node: usize) -> Option<String> {
    Some(format!("eu-central-1{}", ["a", "b", "c"][node % ZONES]))
}

fn topology(names: &[String]) -> Topology {
    let node =
        |(at, name): (usize, &String)| diagnosis::Node { name: name.clone(), zone: zone(at) };
    let both = |name: &String| {
        Vantage::ALL.map(|vantage| diagnosis::Agent { node: name.clone(), vantage })
    };
    Topology {
        nodes: names.iter().enumerate().map(node).collect(),
        agents: names.iter().flat_map(both).collect(),
        ..Topology::default()
    }
}

fn cluster(names: &[String]) -> Cluster {
    let node = |(at, name): (usize, &String)| {
        (name.clone(), meshprobe::cluster::Node { zone: zone(at), ready: true })
    };
    let ip = |at: usize| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + at as u32));
    let agents = names.iter().enumerate().flat_map(|(at, name)| {
        Vantage::ALL.map(|vantage| Agent {
            vantage,
            pod: Pod {
                name: format!("meshprobe-agent-{at}"),
                namespace: format!("meshprobe-{vantage}"),
                node: name.clone(),
                ip: ip(2 * at + vantage as usize),
                service_account: "meshprobe-agent".to_owned(),
                labels: Labels::new(),
                ready: true,
                wanted: match vantage {
                    Vantage::Ambient => Enrolment::Ambient,
                    Vantage::Plain => Enrolment::None,
                },
                actual: Redirection::Absent,
                waypoint: None,
            },
        })
    });
    Cluster {
        nodes: names.iter().enumerate().map(node).collect(),
        agents: agents.collect(),
        ztunnels: names.iter().enumerate().map(|(at, name)| (name.clone(), ip(at))).collect(),
        peer_authentications: Some(Vec::new()),
        ..Cluster::default()
    }
}

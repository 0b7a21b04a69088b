//! The gate on the lab: is STRICT safe there? Puts together what a controller would know of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use time::OffsetDateTime;

use crate::attempt::Attempt;
use crate::cluster::mtls::{Mode, PeerAuthentication};
use crate::cluster::{
    self, Agent, Cluster, ControlPlane, DaemonSet, Endpoint, Enrolment, Labels, Namespace,
    NamespacePods, Node, Redirection,
};
use crate::gate::answer::Ask;
use crate::gate::change::History;
use crate::gate::tally::Tally;
use crate::gate::{self, Evidence, Report, Settings, Standing};
use crate::lab::cell::{Cell, From};
use crate::lab::fault::{Fault, Kind, REPLICAS, Victim};
use crate::lab::mesh::{Built, Mesh};
use crate::lab::picture;
use crate::lab::plan::{CANARY, PERMISSIVE, SERVICE};
use crate::lab::promises::Promises;
use crate::lab::signature::Layout;
use crate::lab::world::Pod;
use crate::observation::{Observation, Verdicts};
use crate::page::Whose;
use crate::target::Vantage;

/// Where istiod's own policies are.
const ROOT_NAMESPACE: &str = "istio-system";
/// What is older than this says nothing of now.
const MINUTE: Duration = Duration::from_secs(60);
/// Attempts of a cell that speak of now.
const LATELY: usize = 8;
/// Attempts of a cell that make one window of a page.
const LAST: usize = 3;
/// A lab runs for seconds: callers that were quiet for so long are gone, and one attempt in five
/// may fail unseen.
pub(super) const SETTINGS: Settings =
    Settings { objective: 0.8, confidence: 0.95, quiet: Duration::from_secs(5) };

/// Where the agents in the mesh are.
const AMBIENT_NAMESPACE: &str = "meshprobe-ambient";

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Seen {
    cells: BTreeMap<Cell, Story>,
    tally: Tally,
    history: History,
    promises: Promises,
}

/// What was seen of a cell.
#[derive(Debug)]
struct Story {
    all: Observation,
    lately: VecDeque<Observation>,
    /// When the last attempt began.
    last: OffsetDateTime,
}

impl Seen {
    /// Nothing, from now on.
    pub(super) fn new() -> Self {
        let tally = Tally::new(OffsetDateTime::now_utc());
        Self {
            cells: BTreeMap::new(),
            tally,
            history: History::default(),
            promises: Promises::new(),
        }
    }

    /// Takes in the policies of the lab with these `faults`, before what comes of them is heard.
    pub(super) fn observe(&mut self, mesh: &Mesh, faults: &[Fault]) {
        let cluster = described(mesh.built(), faults);
        let (flows, now) = (mesh.flows(), OffsetDateTime::now_utc());
        let Self { tally, history, .. } = self;
        history.observe(&cluster, ROOT_NAMESPACE, AMBIENT_NAMESPACE, Some(&flows), tally, now);
    }

    pub(super) fn hear(&mut self, cell: &Cell, attempt: &Attempt, layout: &Layout) {
        let seen = picture::observation(cell, attempt, layout);
        self.tally.count(&seen);
        self.promises.hear(&seen, attempt);
        let story = self.cells.entry(*cell).or_insert_with(|| Story {
            all: Observation {
                verdicts: Verdicts::default(),
                attempts: 0,
                reasons: BTreeMap::new(),
                ..seen.clone()
            },
            lately: VecDeque::new(),
            last: seen.window_start,
        });
        story.last = story.last.max(seen.window_start);
        add(&mut story.all, &seen);
        if story.lately.len() == LATELY {
            story.lately.pop_front();
        }
        story.lately.push_back(seen);
    }

    fn all(&self) -> Vec<Observation> {
        self.cells.values().map(|story| story.spanning(story.all.clone())).collect()
    }

    fn lately(&self, now: OffsetDateTime) -> Vec<Observation> {
        let sum = |story: &Story| {
            let mut seen = story.lately.iter().filter(|it| now - it.window_start <= MINUTE);
            let mut sum = seen.next()?.clone();
            seen.for_each(|seen| add(&mut sum, seen));
            Some(story.spanning(sum))
        };
        self.cells.values().filter_map(sum).collect()
    }

    /// How long ago the agent of `node` on that side began its last attempt.
    fn age(&self, node: &str, vantage: Vantage, now: OffsetDateTime) -> Option<Duration> {
        let own = self.cells.iter().filter(|(cell, _)| {
            let from = cell.row.from();
            from != From::Ingress && from.vantage() == vantage && cell.from.to_string() == node
        });
        let last = own.map(|(_, story)| story.last).max()?;
        Some((now - last).try_into().unwrap_or_default())
    }

    /// The last few attempts of each cell as one window, up to the last of them.
    pub(super) fn last(&self) -> impl Iterator<Item = (&Cell, Observation)> {
        self.cells.iter().filter_map(|(cell, story)| {
            let mut seen = story.lately.iter().rev().take(LAST);
            // It lasts no time, as a single attempt does.
            let mut sum = seen.next()?.clone();
            seen.for_each(|seen| add(&mut sum, seen));
            Some((cell, sum))
        })
    }

    /// The last attempts of some paths, oldest first.
    pub(super) fn attempts(&self, whose: &Whose) -> Vec<Observation> {
        let all = self.cells.values().flat_map(|story| &story.lately);
        all.filter(|seen| whose.holds(seen)).cloned().collect()
    }

    /// What became of SLOs.
    pub(super) fn promises(&self) -> &Promises {
        &self.promises
    }

    /// How the agent of `node` on that side is linked.
    pub(super) fn standing(&self, node: &str, vantage: Vantage, now: OffsetDateTime) -> Standing {
        let age = self.age(node, vantage, now);
        // Its attempts come as they are made, or not at all.
        let linked = age.is_some_and(|age| age <= MINUTE);
        Standing { node: node.to_owned(), vantage, linked, age }
    }
}

fn add(sum: &mut Observation, seen: &Observation) {
    sum.attempts += seen.attempts;
    sum.verdicts.met += seen.verdicts.met;
    sum.verdicts.violated += seen.verdicts.violated;
    sum.verdicts.inconclusive += seen.verdicts.inconclusive;
    for (reason, count) in &seen.reasons {
        *sum.reasons.entry(*reason).or_default() += count;
    }
}

impl Story {
    /// `seen` as one window, up to the last attempt.
    fn spanning(&self, seen: Observation) -> Observation {
        let seconds = (self.last - seen.window_start).whole_seconds().max(1) as u64;
        Observation { window_seconds: seconds, ..seen }
    }
}

/// Answers `ask` of the lab, in which `faults` are there now.
pub(super) fn judge(ask: &Ask, mesh: &Mesh, faults: &[Fault], seen: &Seen) -> Report {
    let now = OffsetDateTime::now_utc();
    let cluster = described(mesh.built(), faults);
    let (flows, own_namespaces) = (mesh.flows(), mesh.own_namespaces());
    let agents = cluster.agents.iter();
    let agents = agents.map(|agent| seen.standing(&agent.pod.node, agent.vantage, now));
    let evidence = Evidence {
        scope: ask.scope.clone(),
        now,
        window: Duration::from_secs(300),
        settings: ask.settings,
        agents: agents.collect(),
        cluster: &cluster,
        root_namespace: ROOT_NAMESPACE,
        own_namespaces: &own_namespaces,
        observations: &seen.all(),
        lately: &seen.lately(now),
        tally: &seen.tally,
        flows: Some(&flows),
        unprobed: Vec::new(),
    };
    let change = seen.history.change(&evidence);
    Report { change, ..gate::judge(&evidence) }
}

/// The lab as discovery would read it while `faults` are there.
fn described(built: &Built, faults: &[Fault]) -> Cluster {
    let enrolled = |enrolled: bool| -> Labels {
        let label = ("istio.io/dataplane-mode".to_owned(), "ambient".to_owned());
        enrolled.then_some(label).into_iter().collect()
    };
    let mut namespaces: BTreeMap<String, Namespace> = BTreeMap::new();
    let mut pods: BTreeMap<String, NamespacePods> = BTreeMap::new();
    for pod in &built.world.pods {
        let labels = enrolled(pod.ambient);
        namespaces.entry(pod.namespace.clone()).or_insert(Namespace { labels, uid: None });
        let counts = pods.entry(pod.namespace.clone()).or_default();
        counts.wanted += u32::from(pod.ambient);
        counts.captured += u32::from(pod.ambient);
    }
    let agent = |name: &String, vantage| Agent { pod: read(built.pod(name)), vantage };
    let ambient = built.ambient.iter().map(|name| agent(name, Vantage::Ambient));
    let agents = ambient.chain(built.plain.iter().map(|name| agent(name, Vantage::Plain)));
    let services = built.world.services.iter().map(|service| cluster::Service {
        namespace: service.namespace.clone(),
        name: service.name.clone(),
        cluster_ip: Some(service.ip),
        port: SERVICE,
        path: "/".to_owned(),
        endpoints: service
            .endpoints
            .iter()
            .map(|name| Endpoint { pod: read(built.pod(name)), target_port: SERVICE })
            .collect(),
        waypoint: None,
        waypoint_pods: Vec::new(),
        uid: None,
    });
    let plane = |kind: &str, count: usize, port| ControlPlane {
        service: Some(SocketAddr::from(([127, 0, 0, 1], port))),
        replicas: (1..=count)
            .map(|n| (format!("{kind}{n}"), SocketAddr::from(([127, 0, 0, 1], port))))
            .collect(),
        uid: None,
    };
    let count = built.ztunnels.len() as u32;
    let down = unready(faults);
    let nodes = built.nodes().map(|node| (node.to_string(), Node { zone: None, ready: true }));
    Cluster {
        nodes: nodes.collect(),
        namespaces,
        agents: agents.collect(),
        services: services.collect(),
        coredns: plane("", REPLICAS.into(), 53),
        // Each node has its own way to the one there is, and no replica is asked by itself.
        istiod: plane("istiod-", 0, 15012),
        ztunnels: built
            .nodes()
            .zip(&built.ztunnels)
            .map(|(node, ip)| (node.to_string(), IpAddr::V4(*ip)))
            .collect(),
        daemon_sets: BTreeMap::from([(
            "ztunnel".to_owned(),
            DaemonSet { desired: count, ready: count - down, updated: count },
        )]),
        pods,
        webhooks: Some(Vec::new()),
        peer_authentications: Some(policies(faults)),
        ..Cluster::default()
    }
}

fn read(pod: &Pod) -> cluster::Pod {
    let (wanted, actual) = match pod.ambient {
        true => (Enrolment::Ambient, Redirection::Enabled),
        false => (Enrolment::None, Redirection::Absent),
    };
    cluster::Pod {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        node: pod.node.clone(),
        ip: pod.ip,
        service_account: pod.service_account.clone(),
        labels: Labels::new(),
        ready: true,
        wanted,
        actual,
        waypoint: None,
    }
}

/// How many ztunnels the kubelet finds not to answer their readiness probe.
fn unready(faults: &[Fault]) -> u32 {
    let down = |fault: &&Fault| matches!(fault.kind, Kind::ZtunnelDead | Kind::ZtunnelFrozen);
    let nodes: BTreeSet<_> = faults.iter().filter(down).filter_map(Fault::node).collect();
    nodes.len() as u32
}

/// That of the canary port, and STRICT where it is applied.
fn policies(faults: &[Fault]) -> Vec<PeerAuthentication> {
    let canary = PeerAuthentication {
        namespace: AMBIENT_NAMESPACE.to_owned(),
        name: "meshprobe".to_owned(),
        created: 0,
        selector: Some(Labels::new()),
        mode: Mode::Permissive,
        ports: vec![(CANARY, Mode::Strict), (PERMISSIVE, Mode::Permissive)],
    };
    let strict = faults.iter().filter_map(|fault| match (fault.kind, fault.victim) {
        (Kind::Strict, Victim::Namespace(namespace)) => Some(PeerAuthentication {
            namespace: namespace.to_owned(),
            name: "default".to_owned(),
            created: 1,
            selector: None,
            mode: Mode::Strict,
            ports: Vec::new(),
        }),
        _ => None,
    });
    [canary].into_iter().chain(strict).collect()
}

//! A fleet that is ready for STRICT, to be broken in one place at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meshprobe::cluster::mtls::{Mode, PeerAuthentication};
use meshprobe::cluster::{
    Agent, Cluster, ControlPlane, DaemonSet, Endpoint, Enrolment, Labels, Namespace, NamespacePods,
    Node, Pod, Redirection, Service,
};
use meshprobe::failure::Reason;
use meshprobe::flow::{
    FleetFlows, Flow, FlowDestination, FlowSecurity, FlowSource, NodeFlows, ZtunnelHealth,
};
use meshprobe::gate::tally::Tally;
use meshprobe::gate::{self, Check, CheckResult, Evidence, Report, Scope, Settings, Standing};
use meshprobe::observation::{Expected, Observation, Verdicts};
use meshprobe::target::{ProbeKind, Vantage, Via};
use time::OffsetDateTime;

pub(crate) const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// What each node counted of each check and expectation: more than three nines take.
pub(crate) const MANY: u64 = 6_000;

/// `seconds` after the time at which the fleet is judged.
pub(crate) fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).expect("a time")
}

/// Everything that an evidence borrows.
pub(crate) struct Fleet {
    pub(crate) scope: Scope,
    pub(crate) settings: Settings,
    pub(crate) now: OffsetDateTime,
    pub(crate) cluster: Cluster,
    pub(crate) own: BTreeSet<String>,
    pub(crate) agents: Vec<Standing>,
    pub(crate) observations: Vec<Observation>,
    pub(crate) lately: Vec<Observation>,
    pub(crate) tally: Tally,
    pub(crate) flows: Option<FleetFlows>,
}

impl Fleet {
    /// Ready in `default`, with nothing to be warned of.
    pub(crate) fn ready() -> Self {
        let mut tally = Tally::new(at(-4_000));
        for observation in seen(at(-3_600), MANY) {
            count(&mut tally, observation);
        }
        Self {
            scope: Scope::of("default"),
            settings: Settings::default(),
            now: at(0),
            cluster: cluster(),
            own: ["meshprobe-ambient", "meshprobe-plain"].map(str::to_owned).into(),
            agents: standing(),
            observations: seen(at(-300), 60),
            lately: seen(at(-40), 6),
            tally,
            flows: Some(flows(Vec::new())),
        }
    }

    pub(crate) fn evidence(&self) -> Evidence<'_> {
        Evidence {
            scope: self.scope.clone(),
            now: self.now,
            window: Duration::from_secs(300),
            settings: self.settings,
            cluster: &self.cluster,
            root_namespace: "istio-system",
            own_namespaces: &self.own,
            agents: self.agents.clone(),
            observations: &self.observations,
            lately: &self.lately,
            tally: &self.tally,
            flows: self.flows.as_ref(),
            unprobed: Vec::new(),
        }
    }

    pub(crate) fn judge(&self) -> Report {
        gate::judge(&self.evidence())
    }

    /// Changes every observation of which `is` says so, those of the last minute too.
    pub(crate) fn change(
        &mut self,
        is: impl Fn(&Observation) -> bool,
        change: impl Fn(&mut Observation),
    ) {
        let all = self.observations.iter_mut().chain(&mut self.lately);
        let mut changed = 0;
        for observation in all.filter(|it| is(it)) {
            change(observation);
            changed += 1;
        }
        assert!(changed > 0, "nothing was changed");
    }
}

/// Checks that came out other than `pass`.
pub(crate) fn unmet(report: &Report) -> BTreeMap<Check, CheckResult> {
    let all = report.checks.iter().map(|check| (check.check, check.result));
    all.filter(|(_, result)| *result != CheckResult::Pass).collect()
}

/// Every detail that made `check` what it is.
pub(crate) fn why(report: &Report, check: Check) -> String {
    let check = report.check(check).expect("every check is there");
    let worst = check.details.iter().filter(|detail| detail.result == check.result);
    worst.map(|detail| detail.text.clone()).collect::<Vec<_>>().join("\n")
}

/// Has `tally` count one window.
pub(crate) fn count(tally: &mut Tally, observation: Observation) {
    // Whoever told it told a later one as well: it has settled.
    let name = observation.name.clone().unwrap_or_default();
    let agent = format!("{}/{:?}/{name}", observation.source_node, observation.vantage);
    let start = observation.window_start + time::Duration::seconds(60);
    let later = Observation {
        window_start: start,
        verdicts: Verdicts::default(),
        attempts: 0,
        ..observation.clone()
    };
    tally.take(&agent, &[observation, later], start);
}

pub(crate) fn fails(observation: &mut Observation, reason: Reason) {
    let all = observation.verdicts.total();
    observation.verdicts = Verdicts { met: 0, violated: all, inconclusive: 0 };
    observation.reasons = BTreeMap::from([(reason, all)]);
}

/// What all agents see in one window, `attempts` of each path.
fn seen(start: OffsetDateTime, attempts: u64) -> Vec<Observation> {
    use Expected::{Denied, Reply};
    use Vantage::{Ambient, Plain};
    let mut all = Vec::new();
    for node in NODES {
        let mut add = |vantage, probe, target: &str, name: &str, to: Option<&str>, via, expect| {
            all.push(Observation {
                source_node: node.to_owned(),
                vantage: Some(vantage),
                probe,
                target: target.to_owned(),
                name: Some(name.to_owned()),
                destination_node: to.map(str::to_owned),
                via,
                expect,
                window_start: start,
                window_seconds: 10,
                attempts,
                verdicts: Verdicts { met: attempts, violated: 0, inconclusive: 0 },
                reasons: BTreeMap::new(),
                latency_seconds: None,
                digest: None,
            });
        };
        let (http, hbone, pod) = (ProbeKind::Http, ProbeKind::Hbone, Some(Via::PodIp));
        for peer in NODES.into_iter().filter(|peer| *peer != node) {
            let name = |row: &str| format!("{row}/{peer}");
            let to = Some(peer);
            for side in Vantage::ALL {
                add(side, http, "peer", &name("peer"), to, pod, Reply);
                add(side, http, "underlay", &name("plain-peer"), to, pod, Reply);
            }
            add(Ambient, http, "peer-strict", &name("canary"), to, pod, Reply);
            add(Plain, http, "peer-strict", &name("canary"), to, pod, Denied);
            let tunnel = Some(Via::Hbone);
            add(Plain, hbone, "peer-strict", &name("hbone-canary"), to, tunnel, Reply);
            add(Plain, hbone, "certificate", &name("certificate"), to, pod, Reply);
        }
        for side in Vantage::ALL {
            add(side, ProbeKind::Istiod, "istiod", "istiod", None, Some(Via::ClusterIp), Reply);
            add(side, ProbeKind::Dns, "coredns", "names", None, Some(Via::ClusterIp), Reply);
            add(side, ProbeKind::Capture, "capture", "capture", Some(node), None, Reply);
            let service = "service/default/mirai-frontend";
            add(side, http, service, "service/default/mirai-frontend:80", None, None, Reply);
        }
        for pod in ["coredns-a", "coredns-b"] {
            let (target, name) = (format!("coredns/{pod}"), format!("coredns-udp/{pod}"));
            add(Plain, ProbeKind::Dns, &target, &name, None, Some(Via::PodIp), Reply);
        }
        let istiod = "istiod/istiod-a";
        add(Plain, ProbeKind::Istiod, istiod, istiod, None, Some(Via::PodIp), Reply);
        add(Ambient, hbone, "own-hbone", "own-hbone", Some(node), None, Reply);
        add(Plain, ProbeKind::Ztunnel, "ztunnel", "ztunnel", Some(node), pod, Reply);
    }
    all
}

fn standing() -> Vec<Standing> {
    let age = Some(Duration::from_secs(4));
    let both = |node: &str| {
        Vantage::ALL.map(|vantage| Standing { node: node.to_owned(), vantage, linked: true, age })
    };
    NODES.into_iter().flat_map(both).collect()
}

pub(crate) fn pod(namespace: &str, name: &str, wanted: Enrolment) -> Pod {
    Pod {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        node: "node-1".to_owned(),
        ip: IpAddr::from([10, 0, 0, 1]),
        service_account: "default".to_owned(),
        labels: Labels::from([("app".to_owned(), name.to_owned())]),
        ready: true,
        wanted,
        actual: Redirection::Enabled,
        waypoint: None,
    }
}

pub(crate) fn policy(namespace: &str, name: &str, mode: Mode) -> PeerAuthentication {
    PeerAuthentication {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        created: 100,
        selector: None,
        mode,
        ports: Vec::new(),
    }
}

fn cluster() -> Cluster {
    let at = |last, port| SocketAddr::from(([10, 96, 0, last], port));
    let nodes = NODES.map(|node| (node.to_owned(), Node { zone: None, ready: true }));
    let ambient = Labels::from([("istio.io/dataplane-mode".to_owned(), "ambient".to_owned())]);
    let namespace = |name: &str, labels| (name.to_owned(), Namespace { labels, uid: None });
    let frontend = pod("default", "mirai-frontend", Enrolment::Ambient);
    let agents = NODES.into_iter().flat_map(|node| {
        Vantage::ALL.map(|vantage| Agent {
            pod: Pod {
                node: node.to_owned(),
                ..pod("meshprobe-plain", "meshprobe-agent", Enrolment::None)
            },
            vantage,
        })
    });
    Cluster {
        nodes: nodes.into(),
        namespaces: BTreeMap::from([
            namespace("default", ambient.clone()),
            namespace("meshprobe-ambient", ambient),
            namespace("ingress", Labels::new()),
        ]),
        agents: agents.collect(),
        services: vec![Service {
            namespace: "default".to_owned(),
            name: "mirai-frontend".to_owned(),
            cluster_ip: Some(IpAddr::from([10, 96, 0, 9])),
            port: 80,
            path: "/".to_owned(),
            endpoints: vec![Endpoint { pod: frontend, target_port: 8080 }],
            waypoint: None,
            waypoint_pods: Vec::new(),
            uid: None,
        }],
        coredns: ControlPlane {
            service: Some(at(10, 53)),
            replicas: ["coredns-a", "coredns-b"].map(|pod| (pod.to_owned(), at(11, 53))).into(),
            uid: None,
        },
        istiod: ControlPlane {
            service: Some(at(20, 15012)),
            replicas: [("istiod-a".to_owned(), at(21, 15012))].into(),
            uid: None,
        },
        ztunnels: NODES.map(|node| (node.to_owned(), IpAddr::from([10, 0, 0, 2]))).into(),
        daemon_sets: [("ztunnel".to_owned(), DaemonSet { desired: 3, ready: 3, updated: 3 })]
            .into(),
        pods: [(
            "default".to_owned(),
            NamespacePods { wanted: 4, captured: 4, ..NamespacePods::default() },
        )]
        .into(),
        webhooks: Some(Vec::new()),
        peer_authentications: Some(vec![PeerAuthentication {
            ports: vec![(9852, Mode::Strict), (9851, Mode::Permissive)],
            selector: Some(Labels::new()),
            ..policy("meshprobe-ambient", "meshprobe", Mode::Permissive)
        }]),
        ..Cluster::default()
    }
}

/// What the plain agents tell of their ztunnels, and these flows on node-1.
pub(crate) fn flows(flows: Vec<Flow>) -> FleetFlows {
    let told: Vec<NodeFlows> = NODES
        .into_iter()
        .map(|node| NodeFlows {
            node: node.to_owned(),
            ztunnel: Some(health()),
            flows: if node == "node-1" { flows.clone() } else { Vec::new() },
            dropped_plaintext: 0,
            dropped_mutual_tls: 0,
        })
        .collect();
    FleetFlows::of(told.iter().map(|told| (told, Duration::from_secs(10))))
}

fn health() -> ZtunnelHealth {
    ZtunnelHealth {
        watched_since: at(-3_600),
        ready: Some(true),
        pending: None,
        version: Some("1.24.0".to_owned()),
        restarts: 0,
        last_restart: None,
        xds_terminations: BTreeMap::new(),
        last_scrape: Some(at(-15)),
        window_seconds: Some(15.0),
        scrapes: 240,
        scrape_failures: 0,
    }
}

/// Plaintext into `default/mirai-frontend`, last seen 3 s ago.
pub(crate) fn plaintext(namespace: Option<&str>, workload: Option<&str>) -> Flow {
    Flow {
        node: "node-1".to_owned(),
        source: FlowSource {
            workload: workload.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
            principal: None,
        },
        destination: FlowDestination {
            workload: Some("mirai-frontend".to_owned()),
            namespace: Some("default".to_owned()),
            ..FlowDestination::default()
        },
        security: FlowSecurity::Plaintext,
        opened_before: 100,
        opened: 40,
        denied: 0,
        rate_per_second: 0.25,
        first_seen: at(-3_600),
        last_seen: Some(at(-3)),
    }
}

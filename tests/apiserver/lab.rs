//! The lab as the data plane of two nodes: ambient pods with their ztunnels, CoreDNS, istiod, and an
//! application, each pod in a network namespace of its own.
//!
//! Knows nothing of the API server: who describes these pods there is another's business.

mod addresses;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meshprobe::config::{Identity, ResponderConfig};
use meshprobe::lab::ca::Authority;
use meshprobe::lab::dns::{Captured, CapturedCondition, CapturedSetup, Replica, Zone};
use meshprobe::lab::istiod::{Istiod, Setup, Tokens};
use meshprobe::lab::world::{self, World};
use meshprobe::lab::ztunnel::{Condition, Stats, Timing, Ztunnel};
use meshprobe::responder::Responder;

use super::net::{OUTSIDE, Pod, bridge};
use super::seed::node_name;
pub(crate) use addresses::*;

/// Nodes of the mesh.
pub(crate) const NODES: usize = 2;
/// The port of the application.
pub(crate) const APPLICATION: u16 = 8080;
/// Where CoreDNS answers ztunnel: what ztunnel itself asks is not captured, which is told here by
/// the port.
const UPSTREAM: u16 = 5353;
/// Real timeouts of ztunnel, a little shortened.
const SCALE: f64 = 4.0;

/// An agent's pod.
pub(crate) struct Seat {
    pub(crate) node: usize,
    pub(crate) ambient: bool,
    pub(crate) pod: Pod,
    /// What it shows istiod.
    pub(crate) token: String,
}

/// A ztunnel: its part in each ambient pod of its node, and its own pod.
#[derive(Default)]
struct Node {
    parts: BTreeMap<Ipv4Addr, Ztunnel>,
    /// What all of them count.
    stats: Arc<Stats>,
    views: Vec<Captured>,
}

/// The running mesh; it ends with the process.
pub(crate) struct Lab {
    pub(crate) seats: Vec<Seat>,
    pub(crate) root_pem: String,
    nodes: Vec<Node>,
    /// What runs in them runs as long as they do.
    _pods: Vec<Pod>,
    _replicas: Vec<Replica>,
    _istiod: Istiod,
}

impl Lab {
    /// Starts everything but the agents.
    pub(crate) async fn start() -> Self {
        bridge();
        let world = Arc::new(world());
        let authority = Arc::new(Authority::new("cluster.local").expect("a root"));
        let mut pods = Vec::new();
        let (istiod, pod) = istiod(&world, &authority).await;
        pods.push(pod);
        let mut replicas = Vec::new();
        for number in COREDNS {
            let pod = Pod::start(number).await;
            replicas.extend(coredns(&pod, &world).await);
            pods.push(pod);
        }
        let mut nodes = Vec::new();
        let mut seats = Vec::new();
        for index in 0..NODES {
            let mut node = Node::default();
            let own = Pod::start(ztunnel(index)).await;
            let part = own_pod(&own, index, &authority).await;
            node.stats = part.stats();
            node.parts.insert(own.ip(), part);
            pods.push(own);
            for (ambient, number) in [(true, ambient_agent(index)), (false, plain_agent(index))] {
                let pod = Pod::start(number).await;
                if ambient {
                    node.enrol(&pod, &world, &authority).await;
                } else {
                    proxy(&pod).await;
                }
                let token = istiod.mint(world.pod_at(pod.ip().into()).expect("in the world"));
                seats.push(Seat { node: index, ambient, pod, token });
            }
            if index == 0 {
                let pod = Pod::start(FRONTEND).await;
                respond(&pod).await;
                node.enrol(&pod, &world, &authority).await;
                pods.push(pod);
            }
            nodes.push(node);
        }
        let root_pem = authority.root_pem().to_owned();
        Self { seats, root_pem, nodes, _pods: pods, _replicas: replicas, _istiod: istiod }
    }

    /// Kills the ztunnel of node `index`, or starts it again.
    pub(crate) async fn kill_ztunnel(&self, index: usize, dead: bool) {
        let node = &self.nodes[index];
        for part in node.parts.values() {
            part.set(Condition { dead, ..Condition::default() });
            part.settled().await;
        }
        let condition = if dead { CapturedCondition::Down } else { CapturedCondition::Serves };
        for view in &node.views {
            view.set(condition.clone()).await.expect("the view lives");
        }
    }

    /// Has the application's ztunnel enforce STRICT.
    pub(crate) async fn enforce_strict(&self) {
        let ip = super::net::address(FRONTEND);
        let part = &self.nodes[0].parts[&ip];
        let strict = BTreeSet::from([(IpAddr::from(ip), APPLICATION)]);
        part.set(Condition { strict, ..Condition::default() });
        part.settled().await;
    }
}

impl Node {
    /// ztunnel's part in an ambient pod, and the rules that lead there.
    async fn enrol(&mut self, pod: &Pod, world: &Arc<World>, authority: &Arc<Authority>) {
        let ip = pod.ip();
        let (of, by) = (Arc::clone(world), Arc::clone(authority));
        let (stats, timing) = (Arc::clone(&self.stats), Timing::scaled(SCALE));
        let part =
            pod.within(move || Ztunnel::start_in_pod_counting(ip.into(), of, by, timing, stats));
        self.parts.insert(ip, part.await.expect("a namespace without listeners"));
        pod.capture().await;
        let services = world.services.iter().map(|it| (it.hostname(), vec![it.ip]));
        let setup = CapturedSetup {
            resolver: SocketAddr::from((Ipv4Addr::LOCALHOST, 15053)),
            decoys: Vec::new(),
            services: services.collect(),
            upstream: (super::net::address(COREDNS[0]), UPSTREAM).into(),
        };
        let view = pod.within(move || Captured::start(setup)).await;
        self.views.push(view.expect("a free port"));
        pod.capture_dns().await;
    }
}

/// Readiness and metrics of the ztunnel on node `index`.
async fn own_pod(pod: &Pod, index: usize, authority: &Arc<Authority>) -> Ztunnel {
    let (ip, authority) = (pod.ip().into(), Arc::clone(authority));
    let started = pod.within(move || async move {
        Ztunnel::start(&node_name(index), ip, Arc::default(), authority, Timing::scaled(SCALE))
            .await
    });
    started.await.expect("a namespace without listeners")
}

async fn istiod(world: &Arc<World>, authority: &Arc<Authority>) -> (Istiod, Pod) {
    let pod = Pod::start(ISTIOD).await;
    let ip = pod.ip();
    let (world, authority) = (Arc::clone(world), Arc::clone(authority));
    let setup = Setup { listen: vec![(ip, 15012).into()], monitoring: Some((ip, 15014).into()) };
    let started =
        pod.within(move || Istiod::start(setup, world, authority, Arc::new(Tokens::default())));
    (started.await.expect("a namespace without listeners"), pod)
}

/// A replica as pods ask it, and as ztunnels do.
async fn coredns(pod: &Pod, world: &World) -> [Replica; 2] {
    let channel = "meshprobe-controller-channel.meshprobe-plain.svc.cluster.local";
    let zone = Zone::of(world).with(channel, &[OUTSIDE.into()]);
    let ip = pod.ip();
    pod.within(move || async move {
        let own = Replica::start((ip, 53).into(), zone.clone()).await.expect("a free port");
        [own, Replica::start((ip, UPSTREAM).into(), zone).await.expect("a free port")]
    })
    .await
}

/// kube-proxy's part for a pod outside the mesh. One endpoint takes it all.
async fn proxy(pod: &Pod) {
    let coredns = super::net::address(COREDNS[0]);
    let istiod = super::net::address(ISTIOD);
    let frontend = super::net::address(FRONTEND);
    for (transport, service, endpoint) in [
        ("udp", (KUBE_DNS_SERVICE, 53), (coredns, 53)),
        ("tcp", (KUBE_DNS_SERVICE, 53), (coredns, 53)),
        ("tcp", (ISTIOD_SERVICE, 15012), (istiod, 15012)),
        ("tcp", (ISTIOD_SERVICE, 15014), (istiod, 15014)),
        ("tcp", (FRONTEND_SERVICE, 80), (frontend, APPLICATION)),
    ] {
        pod.forward(transport, service.into(), endpoint.into()).await;
    }
}

/// The application.
async fn respond(pod: &Pod) {
    let ip = pod.ip();
    pod.within(move || async move {
        let config = ResponderConfig {
            listen: vec![(ip, APPLICATION).into()],
            max_connections: 64,
            max_body: 1024 * 1024,
            max_requests_per_second: 1000,
            idle_timeout: Duration::from_secs(60),
        };
        let identity = Identity { node: node_name(0), zone: None, vantage: None };
        let responder = Responder::bind(&config, &identity).expect("free ports");
        tokio::spawn(responder.serve(std::future::pending()));
    })
    .await;
}

/// Every pod and Service, as ztunnels and istiod know them.
fn world() -> World {
    let pod =
        |namespace: &str, name: &str, node: usize, number: u8, ambient, ports: &[(u16, bool)]| {
            let ip = IpAddr::from(super::net::address(number));
            let agent = namespace.starts_with("meshprobe-");
            let port = |(number, strict): &(u16, bool)| world::PodPort {
                number: *number,
                strict: *strict,
                application: Some(SocketAddr::new(ip, *number)),
            };
            world::Pod {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                service_account: if agent { "meshprobe-agent" } else { "default" }.to_owned(),
                node: node_name(node),
                ip,
                ambient,
                ports: ports.iter().map(port).collect(),
            }
        };
    // As the chart's PeerAuthentication has it.
    let ports = [(9850, false), (9851, false), (9852, true)];
    let open = ports.map(|(number, _)| (number, false));
    let mut pods = vec![
        pod("istio-system", "istiod-0", 0, ISTIOD, false, &[(15012, false), (15014, false)]),
        pod("default", "mirai-frontend-0", 0, FRONTEND, true, &[(APPLICATION, false)]),
    ];
    for (index, number) in COREDNS.into_iter().enumerate() {
        pods.push(pod("kube-system", &format!("coredns-{index}"), index, number, false, &[]));
    }
    for node in 0..NODES {
        let name = format!("meshprobe-agent-{node}");
        pods.push(pod("meshprobe-ambient", &name, node, ambient_agent(node), true, &ports));
        pods.push(pod("meshprobe-plain", &name, node, plain_agent(node), false, &open));
        let name = format!("ztunnel-{node}");
        pods.push(pod("istio-system", &name, node, ztunnel(node), false, &[]));
    }
    let service =
        |namespace: &str, name: &str, ip: Ipv4Addr, ports: &[(u16, u16)], endpoints: &[&str]| {
            world::Service {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                ip: ip.into(),
                ports: ports.to_vec(),
                endpoints: endpoints.iter().map(ToString::to_string).collect(),
            }
        };
    let services = vec![
        service("default", "kubernetes", KUBERNETES_SERVICE, &[], &[]),
        service(
            "kube-system",
            "kube-dns",
            KUBE_DNS_SERVICE,
            &[(53, 53)],
            &["coredns-0", "coredns-1"],
        ),
        service(
            "istio-system",
            "istiod",
            ISTIOD_SERVICE,
            &[(15012, 15012), (15014, 15014)],
            &["istiod-0"],
        ),
        service(
            "default",
            "mirai-frontend",
            FRONTEND_SERVICE,
            &[(80, APPLICATION)],
            &["mirai-frontend-0"],
        ),
    ];
    World { nodes: (0..NODES).map(node_name).collect(), pods, services }
}

//! The pods and Services of the lab, in the namespaces of a small cluster. Opens nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::lab::address::Addresses;
use crate::lab::cell::Node;
use crate::lab::plan::{CANARY, PERMISSIVE, SERVICE};
use crate::lab::signature::Layout;
use crate::lab::world::{Pod, PodPort, Service, World};

/// A world with what in it has which part in the lab.
pub(in crate::lab) struct Built {
    pub(in crate::lab) world: Arc<World>,
    pub(in crate::lab) layout: Layout,
    /// Names of the ambient agents' pods, by node.
    pub(in crate::lab) ambient: Vec<String>,
    /// Names of the plain agents' pods, by node.
    pub(in crate::lab) plain: Vec<String>,
    /// Name of the tunnel daemon's pod.
    pub(in crate::lab) daemon: String,
    /// Name of the pod behind `default/mirai-frontend`.
    pub(in crate::lab) frontend: String,
    /// Its Service's name and address.
    pub(in crate::lab) frontend_name: String,
    pub(in crate::lab) frontend_ip: IpAddr,
    /// Name of the pod behind `monitoring/prometheus`.
    pub(in crate::lab) monitoring: String,
    pub(in crate::lab) monitoring_ip: IpAddr,
    /// The ztunnels' own addresses, by node.
    pub(in crate::lab) ztunnels: Vec<Ipv4Addr>,
    /// Each node's way to istiod.
    pub(in crate::lab) istiods: Vec<Ipv4Addr>,
}

impl Built {
    /// Node-1 and so on.
    pub(in crate::lab) fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (1..=self.ztunnels.len() as u16).map(Node)
    }

    /// The pod of that name; names are unique here.
    pub(in crate::lab) fn pod(&self, name: &str) -> &Pod {
        self.world.pods.iter().find(|pod| pod.name == name).expect("built with it")
    }
}

/// The world of `count` nodes, its tunnel daemon in the mesh or, as it is found in the field, not.
pub(in crate::lab) fn build(addresses: &Addresses, count: u16, enrolled: bool) -> Built {
    let layout = Layout { frontend: Node(1), monitoring: Node(2.min(count)) };
    let mut world = World::default();
    let (mut ambient, mut plain) = (Vec::new(), Vec::new());
    for node in (1..=count).map(Node) {
        world.nodes.push(node.to_string());
        let pod = agent(addresses, node, true);
        ambient.push(pod.name.clone());
        world.pods.push(pod);
        let pod = agent(addresses, node, false);
        plain.push(pod.name.clone());
        world.pods.push(pod);
    }
    let frontend = service(addresses, "default", "mirai-frontend", layout.frontend);
    let monitoring = service(addresses, "monitoring", "prometheus", layout.monitoring);
    let daemon = Pod {
        name: "cloudflared-0".to_owned(),
        namespace: "ingress".to_owned(),
        service_account: "cloudflared".to_owned(),
        node: layout.frontend.to_string(),
        ip: addresses.next().into(),
        ambient: enrolled,
        ports: Vec::new(),
    };
    let built = Built {
        layout,
        ambient,
        plain,
        daemon: daemon.name.clone(),
        frontend: frontend.1.name.clone(),
        frontend_name: frontend.0.hostname(),
        frontend_ip: frontend.0.ip,
        monitoring: monitoring.1.name.clone(),
        monitoring_ip: monitoring.0.ip,
        ztunnels: (0..count).map(|_| addresses.next()).collect(),
        istiods: (0..count).map(|_| addresses.next()).collect(),
        world: Arc::default(),
    };
    for (service, pod) in [frontend, monitoring] {
        world.services.push(service);
        world.pods.push(pod);
    }
    world.pods.push(daemon);
    Built { world: Arc::new(world), ..built }
}

/// The pod of an agent, with the ports of its responder.
fn agent(addresses: &Addresses, node: Node, ambient: bool) -> Pod {
    let side = if ambient { "ambient" } else { "plain" };
    let ip = addresses.next();
    // Behind ztunnel's own sockets the responder needs an address that nobody knows.
    let hidden = if ambient { addresses.next() } else { ip };
    let port = |number, strict| PodPort {
        number,
        strict,
        application: Some(SocketAddr::from((hidden, number))),
    };
    let ports = if ambient {
        vec![port(PERMISSIVE, false), port(CANARY, true)]
    } else {
        vec![port(PERMISSIVE, false)]
    };
    Pod {
        name: format!("meshprobe-{side}-{}", node.0),
        namespace: format!("meshprobe-{side}"),
        service_account: "meshprobe".to_owned(),
        node: node.to_string(),
        ip: ip.into(),
        ambient,
        ports,
    }
}

/// An ambient pod and the Service in front of it.
fn service(addresses: &Addresses, namespace: &str, name: &str, node: Node) -> (Service, Pod) {
    let application = Some(SocketAddr::from((addresses.next(), SERVICE)));
    let pod = Pod {
        name: format!("{name}-0"),
        namespace: namespace.to_owned(),
        service_account: name.to_owned(),
        node: node.to_string(),
        ip: addresses.next().into(),
        ambient: true,
        ports: vec![PodPort { number: SERVICE, strict: false, application }],
    };
    let service = Service {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        ip: addresses.next().into(),
        ports: vec![(SERVICE, SERVICE)],
        endpoints: vec![pod.name.clone()],
    };
    (service, pod)
}

//! A cluster as discovery would find it, and plans as agents read them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use meshprobe::cluster::mtls::{Mode, PeerAuthentication};
use meshprobe::cluster::{
    Agent, Cluster, ControlPlane, Endpoint, Enrolment, Labels, Node, Pod, Redirection, Service,
};
use meshprobe::config::{self, Config};
use meshprobe::fleet::{Fleet, Plan, Settings, Target};
use meshprobe::target::Vantage;

pub(super) const AMBIENT: &str = "meshprobe-ambient";

pub(super) fn ip(last: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + last).into()
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A ready pod of the mesh, captured as it is to be.
pub(super) fn pod(namespace: &str, name: &str, node: &str, address: IpAddr) -> Pod {
    Pod {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        node: node.to_owned(),
        ip: address,
        service_account: "default".to_owned(),
        labels: labels(&[("app", name.split('-').next().expect("split yields one part"))]),
        ready: true,
        wanted: Enrolment::Ambient,
        actual: Redirection::Enabled,
        waypoint: None,
    }
}

pub(super) fn outside(pod: Pod) -> Pod {
    Pod { wanted: Enrolment::None, actual: Redirection::Absent, ..pod }
}

pub(super) fn service(namespace: &str, name: &str, pods: Vec<(Pod, u16)>) -> Service {
    let address = ip(0x00ff_0000 + pods.first().map_or(0, |(pod, _)| u32::from(last(pod.ip))));
    let endpoint = |(pod, target_port)| Endpoint { pod, target_port };
    Service {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        cluster_ip: Some(address),
        port: 80,
        path: "/".to_owned(),
        endpoints: pods.into_iter().map(endpoint).collect(),
        waypoint: None,
        waypoint_pods: Vec::new(),
        uid: None,
    }
}

fn last(ip: IpAddr) -> u16 {
    match ip {
        IpAddr::V4(ip) => u16::from_be_bytes([ip.octets()[2], ip.octets()[3]]),
        IpAddr::V6(ip) => ip.segments()[7],
    }
}

pub(super) fn agents(node: &str, at: u32) -> [Agent; 2] {
    let agent = |namespace: &str, vantage, address| {
        let mut pod = pod(namespace, &format!("agent-{vantage}-{node}"), node, address);
        pod.service_account = "meshprobe-agent".to_owned();
        pod.labels = labels(&[("app.kubernetes.io/name", "meshprobe")]);
        let pod = if vantage == Vantage::Plain { outside(pod) } else { pod };
        Agent { pod, vantage }
    };
    [
        agent(AMBIENT, Vantage::Ambient, ip(0x0001_0000 + 2 * at)),
        agent("meshprobe-plain", Vantage::Plain, ip(0x0001_0001 + 2 * at)),
    ]
}

/// meshprobe's own policy: the canary denies, the admin port never does.
pub(super) fn canary() -> PeerAuthentication {
    PeerAuthentication {
        namespace: AMBIENT.to_owned(),
        name: "meshprobe-canary".to_owned(),
        created: 1,
        selector: Some(labels(&[("app.kubernetes.io/name", "meshprobe")])),
        mode: Mode::Unset,
        ports: vec![(9850, Mode::Permissive), (9852, Mode::Strict)],
    }
}

/// `count` nodes in three zones, with agents, a control plane and no services.
pub(super) fn cluster(count: u32) -> Cluster {
    let mut cluster = Cluster::default();
    let at = |last, port| SocketAddr::new(ip(last), port);
    let plane = |last: u32, port, names: [&str; 2]| ControlPlane {
        service: Some(at(last, port)),
        replicas: names
            .iter()
            .zip(1..)
            .map(|(n, i)| ((*n).to_owned(), at(last + i, port)))
            .collect(),
        uid: None,
    };
    cluster.coredns = plane(0x00fe_0000, 53, ["coredns-a", "coredns-b"]);
    cluster.istiod = plane(0x00fe_1000, 15012, ["istiod-a", "istiod-b"]);
    cluster.controllers = vec![at(9, 9854), at(8, 9854)];
    cluster.peer_authentications = Some(vec![canary()]);
    for index in 0..count {
        let node = format!("node-{index}");
        let zone = Some(format!("zone-{}", index % 3));
        cluster.nodes.insert(node.clone(), Node { zone, ready: true });
        cluster.ztunnels.insert(node.clone(), ip(0x0080_0000 + index));
        cluster.agents.extend(agents(&node, index));
    }
    cluster
}

pub(super) fn fleet(cluster: &Cluster) -> Fleet {
    Fleet::new(Arc::new(cluster.clone()), Settings::default())
}

/// The plan of the agent on `node`.
pub(super) fn plan(fleet: &Fleet, vantage: Vantage, node: &str) -> Plan {
    let pod = format!("agent-{vantage}-{node}");
    fleet.plan(fleet.agent(node, vantage, &pod).expect("an agent"))
}

/// A target as a line: name, address, question, expectation, control.
pub(super) fn line(target: &Target) -> String {
    let control = target.control.as_ref().map(|name| format!(" control {name}"));
    let question = serde_json::to_value(&target.question).expect("JSON");
    let (kind, _) = question.as_object().and_then(|map| map.iter().next()).expect("one block");
    let Target { name, address, expect, .. } = target;
    format!("{name} {kind} {address} {expect}{}", control.unwrap_or_default())
}

pub(super) fn lines(plan: &Plan) -> Vec<String> {
    plan.body.config.targets.iter().map(line).collect()
}

/// The plan as the agent reads it: its own file's part before it.
pub(super) fn read(plan: &Plan) -> Result<Config, String> {
    let sent: serde_json::Value = serde_json::from_slice(&plan.to_json()).expect("JSON");
    let mut yaml = format!("node: node-1\nvantage: {}\n", plan.body.vantage);
    yaml += "mesh: { pod: { name: a, namespace: b, service_account: c, ip: 10.0.0.1 } }\n";
    for key in ["defaults", "modules", "targets"] {
        yaml += &format!("{key}: {}\n", sent["config"][key]);
    }
    config::parse(&yaml, &BTreeMap::new()).map_err(|mistakes| {
        mistakes.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })
}

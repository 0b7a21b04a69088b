//! What the lab's agents probe: the truth table as the configuration that a user would write.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use crate::config::{self, Config, ISTIOD_PORT};
use crate::lab::cell::{Cell, From, Node, Row, To};
use crate::lab::signature::{Layout, far_end};
use crate::lab::world::{Pod, TRUST_DOMAIN};
use crate::spec::Ask;
use crate::target::TargetName;

/// Metrics and health of the lab's agents.
const ADMIN: u16 = 9850;
/// The responder's permissive port.
pub(super) const PERMISSIVE: u16 = 9851;
/// The responder's STRICT canary port.
pub(super) const CANARY: u16 = 9852;
/// The port of the lab's services.
pub(super) const SERVICE: u16 = 8080;
/// Attempts by plain agents, and of ambient ones on the control plane, end after this.
pub(super) const BRIEF: Duration = Duration::from_secs(2);
/// How often certificates are asked for; in a cluster that is minutes.
const CSR: Duration = Duration::from_secs(1);

/// One target of a plan.
pub(super) struct Experiment {
    /// Its cell of the truth table.
    pub(super) cell: Cell,
    /// Its keys beside the name, as YAML flow.
    pub(super) keys: String,
}

/// Who an agent is and what it works with.
pub(super) struct Seat<'a> {
    /// Node.
    pub(super) node: Node,
    /// Which of the node's probers.
    pub(super) from: From,
    /// Where the services have their pods.
    pub(super) layout: Layout,
    /// The pod it runs in.
    pub(super) pod: &'a Pod,
    /// Where its responder listens, if it has one.
    pub(super) responder: Vec<SocketAddr>,
    /// What resolv.conf names in it.
    pub(super) resolver: SocketAddr,
    /// Where it finds istiod.
    pub(super) istiod: SocketAddr,
    /// The trust bundle.
    pub(super) ca: &'a Path,
    /// The service account token.
    pub(super) token: &'a Path,
    /// Time between two attempts of one target.
    pub(super) interval: Duration,
    /// How long attempts may take by default.
    pub(super) timeout: Duration,
}

/// A configuration with the cells of its targets.
pub(super) struct Plan {
    /// Node.
    pub(super) node: Node,
    /// Which of the node's probers.
    pub(super) from: From,
    /// The configuration as a user would write it.
    pub(super) yaml: String,
    /// What the agent runs by.
    pub(super) config: Config,
    /// Where it has names resolved.
    pub(super) resolver: SocketAddr,
    /// Cells by target.
    pub(super) cells: BTreeMap<TargetName, Cell>,
}

/// The plan of the agent in `seat`.
pub(super) fn plan(seat: &Seat<'_>, experiments: &[Experiment]) -> anyhow::Result<Plan> {
    let yaml = yaml(seat, experiments);
    let mut config = match config::parse(&yaml, &BTreeMap::new()) {
        Ok(config) => config,
        Err(mistakes) => {
            let list: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            bail!("the lab's own configuration is wrong:\n{}\n{yaml}", list.join("\n"))
        }
    };
    for target in &mut config.targets {
        match &mut target.probe.ask {
            // Oftener than a configuration may say: this istiod is ours alone.
            Ask::Istiod { module, .. } => module.csr = Some(CSR),
            // Pods are told apart by their addresses.
            Ask::Http { module, .. } => module.ip.source = Some(seat.pod.ip),
            _ => {}
        }
    }
    let named = |experiment: &Experiment| {
        let name = experiment.cell.target_name().parse().expect("made of row and node names");
        (name, experiment.cell)
    };
    let cells = experiments.iter().map(named).collect();
    Ok(Plan { node: seat.node, from: seat.from, yaml, config, resolver: seat.resolver, cells })
}

fn yaml(seat: &Seat<'_>, experiments: &[Experiment]) -> String {
    let Seat { node, pod, interval, timeout, .. } = seat;
    let in_flight = timeout.as_nanos().div_ceil(interval.as_nanos().max(1)) + 1;
    let mut yaml = format!(
        "node: {node}
vantage: {vantage}
admin: {{ listen: \"{ip}:{ADMIN}\" }}
defaults: {{ interval: {interval}ms, timeout: {timeout}ms, max_in_flight: {in_flight} }}
mesh:
  istiod: \"{istiod}\"
  server_name: istiod.istio-system.svc
  ca: {ca:?}
  token: {token:?}
  trust_domain: {TRUST_DOMAIN}
  certificate: {certificate}
  pod: {{ name: {name}, namespace: {namespace}, service_account: {account}, ip: \"{ip}\" }}
",
        vantage = seat.from.vantage(),
        ip = pod.ip,
        interval = interval.as_millis(),
        timeout = timeout.as_millis(),
        istiod = seat.istiod,
        ca = seat.ca,
        token = seat.token,
        certificate = seat.from == From::Plain,
        name = pod.name,
        namespace = pod.namespace,
        account = pod.service_account,
    );
    if !seat.responder.is_empty() {
        let listen: Vec<_> = seat.responder.iter().map(|at| format!("\"{at}\"")).collect();
        let _ = writeln!(yaml, "responder: {{ listen: [{}] }}", listen.join(", "));
    }
    yaml.push_str("targets:\n");
    for Experiment { cell, keys } in experiments {
        // Writing to a String does not fail.
        let _ = write!(yaml, "  - {{ name: {}, subject: {}", cell.target_name(), cell.subject());
        if let Some(node) = destination(cell, &seat.layout) {
            let _ = write!(yaml, ", destination_node: {node}");
        }
        let _ = writeln!(yaml, ", {keys} }}");
    }
    yaml
}

/// The node that a cell's targets are on.
pub(super) fn destination(cell: &Cell, layout: &Layout) -> Option<Node> {
    match cell.row {
        Row::AmbientCapture | Row::PlainCapture | Row::AmbientOwnHbone | Row::PlainZtunnel => {
            Some(cell.from)
        }
        _ => far_end(cell, layout),
    }
}

/// The other end of an ambient agent's experiments: where its capture leads to.
pub(super) struct Captured {
    /// Peers, by node: permissive port, canary port, plain peer.
    pub(super) peers: Vec<(Node, [SocketAddr; 3])>,
    /// `default/mirai-frontend`.
    pub(super) frontend: SocketAddr,
    /// `monitoring/prometheus`.
    pub(super) monitoring: SocketAddr,
    /// The captured view of DNS.
    pub(super) names: SocketAddr,
    /// What stands in for an address without a DNS server.
    pub(super) nobody: SocketAddr,
    /// What stands in for an address without a host.
    pub(super) decoy: SocketAddr,
    /// istiod.
    pub(super) istiod: SocketAddr,
    /// Its name, and where the pod's resolver is told by it.
    pub(super) istiod_name: String,
}

/// The experiments of an ambient agent in `pod` on `node`.
pub(super) fn ambient(
    node: Node,
    pod: &Pod,
    frontend: &str,
    captured: &Captured,
) -> Vec<Experiment> {
    let mut list = Vec::new();
    let mut add =
        |row, to, keys| list.push(Experiment { cell: Cell { row, from: node, to }, keys });
    let ok = "expect: status 2xx, http: {}";
    for (peer, [permissive, canary, plain]) in &captured.peers {
        let to = To::Node(*peer);
        add(Row::AmbientPeer, to, format!("address: \"http://{permissive}/\", {ok}, via: pod_ip"));
        add(Row::AmbientCanary, to, format!("address: \"http://{canary}/\", {ok}, via: pod_ip"));
        add(Row::AmbientUnderlay, to, format!("address: \"http://{plain}/\", {ok}, via: pod_ip"));
    }
    for (row, address) in
        [(Row::AmbientFrontend, captured.frontend), (Row::AmbientMonitoring, captured.monitoring)]
    {
        add(row, To::Alone, format!("address: \"http://{address}/\", {ok}, via: cluster_ip"));
    }
    if let Some((peer, [permissive, ..])) = captured.peers.first() {
        let to = To::Node(*peer);
        add(
            Row::AmbientHeld,
            to,
            format!(
                "address: \"http://{permissive}/\", hold: {{ heartbeat: 250ms, hold: 2s }}, max_in_flight: 1, interval: 2s, timeout: 1s, via: pod_ip"
            ),
        );
        add(
            Row::AmbientLarge,
            to,
            format!("address: \"http://{permissive}/echo\", mtu: {{}}, timeout: 2s, via: pod_ip"),
        );
    }
    let Captured { names, nobody, decoy, istiod, istiod_name, frontend: address, .. } = captured;
    add(
        Row::AmbientNames,
        To::Alone,
        format!(
            "address: {frontend}., timeout: 1s, dns: {{ server: \"{names}\", addresses: [\"{}\"] }}",
            address.ip()
        ),
    );
    for (row, address) in
        [(Row::AmbientIstiod, istiod.to_string()), (Row::AmbientIstiodName, by_name(istiod_name))]
    {
        add(row, To::Alone, ladder(&address));
    }
    add(
        Row::AmbientCapture,
        To::Alone,
        format!(
            "address: {frontend}., timeout: 2s, capture: {{ dns_server: \"{nobody}\", decoy: \"{decoy}\", hbone: \"{}:15008\" }}",
            pod.ip
        ),
    );
    add(
        Row::AmbientOwnHbone,
        To::Alone,
        format!(
            "address: \"{}:15008\", timeout: 2s, hbone: {{ credentialed: false, tls: {{ spiffe_id: \"{}\" }} }}",
            pod.ip,
            pod.spiffe_id()
        ),
    );
    list
}

/// The other end of a plain agent's experiments.
pub(super) struct Open<'a> {
    /// Ambient peers and plain peers' responders, by node.
    pub(super) peers: Vec<(Node, &'a Pod, SocketAddr)>,
    /// The pod behind `default/mirai-frontend`.
    pub(super) frontend: IpAddr,
    /// The pod behind `monitoring/prometheus`.
    pub(super) monitoring: IpAddr,
    /// CoreDNS replicas.
    pub(super) replicas: Vec<SocketAddr>,
    /// An address without a DNS server.
    pub(super) nobody: SocketAddr,
    /// An address without a host.
    pub(super) decoy: SocketAddr,
    /// istiod.
    pub(super) istiod: SocketAddr,
    /// Its name.
    pub(super) istiod_name: String,
    /// This node's ztunnel.
    pub(super) ztunnel: IpAddr,
}

/// The experiments of a plain agent on `node`; `frontend` is a name and its address.
pub(super) fn plain(node: Node, frontend: (&str, IpAddr), open: &Open<'_>) -> Vec<Experiment> {
    let mut list = Vec::new();
    let mut add =
        |row, to, keys| list.push(Experiment { cell: Cell { row, from: node, to }, keys });
    let ok = "expect: status 2xx, http: {}";
    for (peer, pod, plain) in &open.peers {
        let (to, ip, id) = (To::Node(*peer), pod.ip, pod.spiffe_id());
        let tunnel =
            format!("expect: status 2xx, hbone: {{ tls: {{ spiffe_id: \"{id}\" }} }}, via: hbone");
        add(
            Row::PlainPeer,
            to,
            format!("address: \"http://{ip}:{PERMISSIVE}/\", {ok}, via: pod_ip"),
        );
        add(
            Row::PlainCanary,
            to,
            format!(
                "address: \"http://{ip}:{CANARY}/\", expect: denied, http: {{}}, via: pod_ip, control: {}/{peer}",
                Row::PlainHboneCanary.target()
            ),
        );
        add(Row::PlainHbone, to, format!("address: \"http://{ip}:{PERMISSIVE}/\", {tunnel}"));
        add(Row::PlainHboneCanary, to, format!("address: \"http://{ip}:{CANARY}/\", {tunnel}"));
        add(
            Row::PlainCertificate,
            to,
            format!(
                "address: \"{ip}:15008\", hbone: {{ credentialed: false, tls: {{ spiffe_id: \"{id}\", min_remaining: 0.1 }} }}, via: pod_ip"
            ),
        );
        add(Row::PlainUnderlay, to, format!("address: \"http://{plain}/\", {ok}, via: pod_ip"));
    }
    for (row, ip) in [(Row::PlainFrontend, open.frontend), (Row::PlainMonitoring, open.monitoring)]
    {
        add(row, To::Alone, format!("address: \"http://{ip}:{SERVICE}/\", {ok}, via: pod_ip"));
    }
    let (name, address) = frontend;
    for (index, replica) in (1..).zip(&open.replicas) {
        for (row, transport) in [(Row::PlainDnsUdp, "udp"), (Row::PlainDnsTcp, "tcp")] {
            add(
                row,
                To::Replica(index),
                format!(
                    "address: {name}., timeout: 1s, dns: {{ server: \"{replica}\", transport: {transport}, addresses: [\"{address}\"] }}"
                ),
            );
        }
    }
    let Open { nobody, decoy, istiod, istiod_name, ztunnel, .. } = open;
    for (row, address) in
        [(Row::PlainIstiod, istiod.to_string()), (Row::PlainIstiodName, by_name(istiod_name))]
    {
        add(row, To::Alone, ladder(&address));
    }
    add(
        Row::PlainCapture,
        To::Alone,
        format!(
            "address: {name}., timeout: 1s, capture: {{ dns_server: \"{nobody}\", decoy: \"{decoy}\", hbone: off }}"
        ),
    );
    add(Row::PlainZtunnel, To::Alone, format!("address: \"{ztunnel}\", ztunnel: {{}}"));
    list
}

/// The keys of a ladder to istiod.
fn ladder(address: &str) -> String {
    format!("address: \"{address}\", timeout: 2s, interval: 5s, istiod: {{}}")
}

/// A name that is looked up as it is, on istiod's port.
fn by_name(name: &str) -> String {
    format!("{name}.:{ISTIOD_PORT}")
}

/// The one experiment of the tunnel daemon.
pub(super) fn ingress(node: Node, frontend: SocketAddr) -> Vec<Experiment> {
    let cell = Cell { row: Row::IngressFrontend, from: node, to: To::Alone };
    let keys =
        format!("address: \"http://{frontend}/\", expect: status 2xx, http: {{}}, via: pod_ip");
    vec![Experiment { cell, keys }]
}

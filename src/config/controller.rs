//! The configuration of a controller, checked and complete. See `config/controller.yaml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Labels;
use crate::config::decode::{Book, Field};
use crate::config::mesh::{checked, is_name, trust_domain};
use crate::config::mistake::Mistake;
use crate::config::node::{MAX_BYTES, Node};
use crate::config::prometheus::{self, EvidenceSource, PrometheusConfig};
use crate::config::server::{listen, set};
use crate::config::slo;
use crate::slo::Slo;

/// The most namespaces of `gate.namespaces`: each costs two watches.
const MAX_GATES: usize = 50;

/// Everything a controller runs by.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerConfig {
    /// The HTTP API: `/v1/nodes`, `/v1/gate/strict`, `/v1/plan`, `/metrics`, `/livez`, `/readyz`.
    pub listen: SocketAddr,
    /// The control channel, UDP.
    pub channel: ChannelConfig,
    /// Where the agents of the ambient vantage are.
    pub ambient_namespace: String,
    /// Where the agents of the plain vantage and the controllers are.
    pub plain_namespace: String,
    /// The mesh.
    pub istio: IstioConfig,
    /// CoreDNS's Service.
    pub coredns: ServiceName,
    /// The domain of the cluster's names.
    pub cluster_domain: String,
    /// Services that are called, besides those that are annotated.
    pub services: Vec<ServiceChoice>,
    /// Whom each agent probes.
    pub topology: TopologyConfig,
    /// How agents probe.
    pub probes: ProbesConfig,
    /// What the whole fleet may ask of others.
    pub budgets: BudgetsConfig,
    /// What the gate takes for enough, and where it looks by itself.
    pub gate: GateConfig,
    /// What is promised, as agents have it too.
    pub slos: Vec<Slo>,
    /// Where a Prometheus is that scrapes the agents.
    pub prometheus: Option<PrometheusConfig>,
    /// From whom it hears what agents saw.
    pub source: EvidenceSource,
    /// Who this controller is, when its environment says so; without it no Events are written.
    pub pod: Option<ServiceName>,
    /// Its pod's `metadata.uid`: Events about no object of their own are shown with it.
    pub pod_uid: Option<String>,
}

/// The control channel's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelConfig {
    /// Address and UDP port.
    pub listen: SocketAddr,
    /// The key that agents must hold as well; read again when it changes.
    pub key: Option<PathBuf>,
}

/// What a controller has to know of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IstioConfig {
    /// Where istiod, ztunnel and istio-cni are.
    pub namespace: String,
    /// istiod's Service.
    pub service: String,
    /// `meshConfig.rootNamespace`.
    pub root_namespace: String,
    /// `meshConfig.trustDomain`.
    pub trust_domain: String,
}

/// A namespaced object by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An entry of `services`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChoice {
    /// The only namespace.
    pub namespace: Option<String>,
    /// Which Services.
    pub which: WhichServices,
    /// Which of their ports, by number or name; empty means every TCP port.
    pub ports: Vec<String>,
    /// What is requested; `None` leaves it to the annotation.
    pub path: Option<String>,
}

/// Which Services an entry of `services` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichServices {
    /// The one of this name.
    Named(String),
    /// Those with all of these labels.
    Labelled(Labels),
    /// All of the namespace.
    All,
}

/// Whom each agent probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyConfig {
    /// Up to so many nodes everybody probes everybody.
    pub full_mesh_up_to: u32,
    /// Above it each probes so many.
    pub peers: u32,
    /// Endpoints of one Service that an agent probes by their own addresses.
    pub endpoints_per_service: u32,
}

/// How agents probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbesConfig {
    /// Time between attempts of one target, where no budget needs it longer.
    pub interval: Duration,
    /// Of a whole attempt.
    pub timeout: Duration,
    /// For how long after a change of expectations what contradicts them is inconclusive.
    pub grace: Duration,
}

/// What the whole fleet may ask of others, per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetsConfig {
    /// Certificates that istiod signs for ladders.
    pub csr_per_second: f64,
    /// xDS streams on istiod.
    pub xds_per_second: f64,
    /// Queries to one CoreDNS replica.
    pub dns_per_second: f64,
    /// Requests to one port of a Service.
    pub requests_per_second: f64,
}

/// What the gate takes for enough, and where it looks by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct GateConfig {
    /// The share of attempts that must succeed.
    pub objective: f64,
    /// How sure of it one must be.
    pub confidence: f64,
    /// For how long nobody may have called in plaintext.
    pub quiet: Duration,
    /// Namespaces whose pods are watched, and whose gate is in the metrics, besides the mesh's.
    pub namespaces: Vec<String>,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 9853)),
            channel: ChannelConfig { listen: SocketAddr::from(([0, 0, 0, 0], 9854)), key: None },
            ambient_namespace: "meshprobe-ambient".to_owned(),
            plain_namespace: "meshprobe-plain".to_owned(),
            istio: IstioConfig {
                namespace: "istio-system".to_owned(),
                service: "istiod".to_owned(),
                root_namespace: "istio-system".to_owned(),
                trust_domain: "cluster.local".to_owned(),
            },
            coredns: ServiceName {
                namespace: "kube-system".to_owned(),
                name: "kube-dns".to_owned(),
            },
            cluster_domain: "cluster.local".to_owned(),
            services: Vec::new(),
            topology: TopologyConfig { full_mesh_up_to: 20, peers: 10, endpoints_per_service: 3 },
            probes: ProbesConfig {
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(2),
                grace: Duration::from_secs(30),
            },
            budgets: BudgetsConfig {
                csr_per_second: 1.0,
                xds_per_second: 10.0,
                dns_per_second: 50.0,
                requests_per_second: 10.0,
            },
            gate: GateConfig {
                objective: 0.999,
                confidence: 0.95,
                quiet: Duration::from_secs(600),
                namespaces: Vec::new(),
            },
            slos: Vec::new(),
            prometheus: None,
            source: EvidenceSource::default(),
            pod: None,
            pod_uid: None,
        }
    }
}

/// Reads a controller's configuration in `text`; its pod comes from `MESHPROBE_POD_NAME`,
/// `_NAMESPACE` and `_UID` of `environment`.
///
/// Touches neither files nor network. Errors are all mistakes at once, in the order of the text.
pub fn parse_controller(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<ControllerConfig, Vec<Mistake>> {
    let root = Node::read(text, MAX_BYTES).map_err(|mistake| vec![mistake])?;
    let book = Book::default();
    let config = decode(&Field::root(&root, &book), environment);
    let mistakes = book.mistakes.into_sorted();
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

fn decode(root: &Field<'_>, environment: &BTreeMap<String, String>) -> ControllerConfig {
    let mut config = ControllerConfig::default();
    let mut fields = root.fields();
    set(&mut config.listen, fields.take("listen").and_then(|field| listen(&field)));
    if let Some(mut block) = fields.take("channel").as_ref().map(Field::fields) {
        set(&mut config.channel.listen, block.take("listen").and_then(|field| listen(&field)));
        config.channel.key = block.take("key").and_then(Field::file);
        block.finish();
    }
    if let Some(mut block) = fields.take("namespaces").as_ref().map(Field::fields) {
        set(&mut config.ambient_namespace, block.take("ambient").and_then(|f| name(&f)));
        let plain = block.take("plain");
        set(&mut config.plain_namespace, plain.as_ref().and_then(name));
        if let Some(field) = plain.filter(|_| config.ambient_namespace == config.plain_namespace) {
            field.wrong("is the ambient one too", "give each vantage a namespace of its own");
        }
        block.finish();
    }
    if let Some(mut block) = fields.take("istio").as_ref().map(Field::fields) {
        let istio = &mut config.istio;
        set(&mut istio.namespace, block.take("namespace").and_then(|f| name(&f)));
        set(&mut istio.service, block.take("service").and_then(|f| name(&f)));
        set(&mut istio.root_namespace, block.take("root_namespace").and_then(|f| name(&f)));
        set(&mut istio.trust_domain, block.take("trust_domain").and_then(|f| trust_domain(&f)));
        block.finish();
    }
    if let Some(mut block) = fields.take("coredns").as_ref().map(Field::fields) {
        set(&mut config.coredns.namespace, block.take("namespace").and_then(|f| name(&f)));
        set(&mut config.coredns.name, block.take("service").and_then(|f| name(&f)));
        block.finish();
    }
    set(&mut config.cluster_domain, fields.take("cluster_domain").and_then(|f| name(&f)));
    if let Some(field) = fields.take("services") {
        config.services = field.items().iter().filter_map(choice).collect();
    }
    measures(&mut config, fields.take("topology"), fields.take("probes"), fields.take("budgets"));
    if let Some(field) = fields.take("gate") {
        gate(&mut config.gate, &field);
    }
    let (_, bounds) = slo::bounds(fields.take("buckets").as_ref());
    config.slos = slo::slos(fields.take("slos").as_ref(), &bounds);
    (config.prometheus, config.source) = prometheus::decode(&mut fields);
    fields.finish();
    let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
    config.pod = variable("MESHPROBE_POD_NAMESPACE")
        .zip(variable("MESHPROBE_POD_NAME"))
        .map(|(namespace, name)| ServiceName { namespace, name });
    config.pod_uid = variable("MESHPROBE_POD_UID");
    config
}

fn gate(gate: &mut GateConfig, field: &Field<'_>) {
    let mut block = field.fields();
    let shares = 0.5..=0.999_999;
    set(&mut gate.objective, block.take("objective").and_then(|f| f.real(shares.clone())));
    set(&mut gate.confidence, block.take("confidence").and_then(|f| f.real(shares)));
    let quiets = Duration::from_secs(10)..=Duration::from_secs(7 * 24 * 3600);
    set(&mut gate.quiet, block.take("quiet").and_then(|f| f.duration(quiets)));
    if let Some(field) = block.take("namespaces") {
        let items = field.items();
        if items.len() > MAX_GATES {
            field.unvalued("has too many namespaces", "name at most 50");
        }
        gate.namespaces = items.iter().filter_map(name).collect();
    }
    block.finish();
}

/// The blocks of numbers.
fn measures(
    config: &mut ControllerConfig,
    topology: Option<Field<'_>>,
    probes: Option<Field<'_>>,
    budgets: Option<Field<'_>>,
) {
    if let Some(mut block) = topology.as_ref().map(Field::fields) {
        let topology = &mut config.topology;
        let full = block.take("full_mesh_up_to");
        set(&mut topology.full_mesh_up_to, full.and_then(|f| f.whole(0..=64)));
        set(&mut topology.peers, block.take("peers").and_then(|f| f.whole(1..=32)));
        let endpoints = block.take("endpoints_per_service");
        set(&mut topology.endpoints_per_service, endpoints.and_then(|f| f.whole(1..=16)));
        block.finish();
    }
    if let Some(mut block) = probes.as_ref().map(Field::fields) {
        let probes = &mut config.probes;
        let intervals = Duration::from_secs(1)..=Duration::from_secs(3600);
        set(&mut probes.interval, block.take("interval").and_then(|f| f.duration(intervals)));
        let timeouts = Duration::from_millis(10)..=Duration::from_secs(600);
        set(&mut probes.timeout, block.take("timeout").and_then(|f| f.duration(timeouts)));
        let graces = Duration::ZERO..=Duration::from_secs(3600);
        set(&mut probes.grace, block.take("grace").and_then(|f| f.duration(graces)));
        block.finish();
    }
    if let Some(mut block) = budgets.as_ref().map(Field::fields) {
        let budgets = &mut config.budgets;
        let mut rate = |slot: &mut f64, key| {
            set(slot, block.take(key).and_then(|field: Field<'_>| field.real(0.0..=1e6)));
        };
        rate(&mut budgets.csr_per_second, "csr_per_second");
        rate(&mut budgets.xds_per_second, "xds_per_second");
        rate(&mut budgets.dns_per_second, "dns_per_second");
        rate(&mut budgets.requests_per_second, "requests_per_second");
        block.finish();
    }
}

fn name(field: &Field<'_>) -> Option<String> {
    let rule = "lower-case letters, digits, - and .";
    checked(field, is_name, "a name of Kubernetes", rule)
}

/// One entry of `services`.
fn choice(field: &Field<'_>) -> Option<ServiceChoice> {
    let mut fields = field.fields();
    let namespace = fields.take("namespace").map(|field| name(&field));
    let named = fields.take("name");
    let selector = fields.take("selector");
    let ports = fields.take("ports");
    let ports = ports.iter().flat_map(Field::items).filter_map(|item| port(&item)).collect();
    let path = fields.take("path").map(|field| path(&field));
    fields.finish();
    let which = match (&named, &selector) {
        (Some(_), Some(selector)) => {
            selector.unvalued("stands beside `name`", "leave one of the two out");
            None
        }
        (Some(named), None) if namespace.is_none() => {
            named.wrong("is in no namespace", "write `namespace` beside it");
            None
        }
        (Some(named), None) => name(named).map(WhichServices::Named),
        (None, Some(selector)) => labels(selector).map(WhichServices::Labelled),
        (None, None) if namespace.is_none() => {
            let fix = "write namespace and name, a namespace, or a selector";
            field.unvalued("chooses nothing", fix);
            None
        }
        (None, None) => Some(WhichServices::All),
    };
    let (namespace, path) = (namespace.map_or(Some(None), |n| n.map(Some)), path);
    Some(ServiceChoice {
        namespace: namespace?,
        which: which?,
        ports,
        path: path.map_or(Some(None), |path| path.map(Some))?,
    })
}

/// A port by number or by name.
fn port(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let named = |text: &str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&text.len()) && text.chars().all(allowed)
    };
    let numeric = text.chars().all(|c| c.is_ascii_digit());
    let good = if numeric { text.parse().is_ok_and(|port: u16| port > 0) } else { named(text) };
    if !good {
        field.wrong("is not a port", "write a number from 1 to 65535, or a port's name");
    }
    good.then(|| text.to_owned())
}

fn path(field: &Field<'_>) -> Option<String> {
    let valid = |text: &str| {
        text.starts_with('/') && text.len() <= 1024 && text.chars().all(|c| c.is_ascii_graphic())
    };
    checked(field, valid, "a path", "/ and up to 1023 visible ASCII characters")
}

/// `key=value,other=value`, as `kubectl -l` takes equalities.
fn labels(field: &Field<'_>) -> Option<Labels> {
    let text = field.filled()?;
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let (key, value) = (key.trim(), value.trim());
        let good = !key.is_empty() && key.chars().chain(value.chars()).all(allowed);
        good.then(|| (key.to_owned(), value.to_owned()))
    };
    let labels: Option<Labels> = text.split(',').map(pair).collect();
    if labels.is_none() {
        field.wrong("is not a selector of equal labels", "write key=value, or several with commas");
    }
    labels
}

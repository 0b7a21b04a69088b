//! The configuration of an agent, checked and complete. See `config/example.yaml`.

mod controller;
mod controllers;
mod decode;
mod load;
mod mesh;
mod mistake;
mod module;
mod node;
mod openslo;
mod origin;
mod plan;
mod print;
mod prometheus;
mod quantity;
mod server;
mod slo;
mod target;
mod watch;
mod yaml;

pub use controller::{
    BudgetsConfig, ChannelConfig, ControllerConfig, GateConfig, IstioConfig, ProbesConfig,
    ServiceChoice, ServiceName, TopologyConfig, WhichServices, parse_controller,
};
pub use controllers::{CONTROLLER_NAME, CONTROLLER_PORT, ControllersConfig};
pub use load::{examine, load, parse, promised, read};
pub use mesh::{CA, CLUSTER_ID, ISTIOD_NAME, ISTIOD_PORT, MeshConfig, TOKEN, TRUST_DOMAIN};
pub use mistake::{Mistake, Position, tidy};
pub use node::MAX_BYTES;
pub use openslo::import as import_openslo;
pub use origin::Origins;
pub use plan::{
    AGENT_HEADER, CONTROLLERS_HEADER, MAX_CONTROLLERS, MAX_PLAN_BYTES, PLAN_HEADER, PlanDocument,
    parse_plan, print_revision,
};
pub use print::slos as print_slos;
pub use prometheus::{EvidenceSource, PrometheusConfig, SourceChoice, is_plain};
pub use quantity::{parse_duration, parse_size, print_duration, print_size};
pub use server::{DEFAULT_BUCKETS, is_label};
pub use slo::MAX_SLOS;
pub use target::MAX_TARGETS;
pub use watch::Watch;
pub(crate) use yaml::Yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::slo::Slo;
use crate::spec::{Ask, Module, ModuleKind, OwnCertificate, Roots, TargetSpec};
use crate::target::Vantage;

/// Everything an agent runs by.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Who this agent is.
    pub identity: Identity,
    /// The admin server: metrics, health, window, `/probe`.
    pub admin: AdminConfig,
    /// The endpoint that peers probe; off when absent.
    pub responder: Option<ResponderConfig>,
    /// Bounds on the agent as a whole.
    pub limits: Limits,
    /// Upper bounds of the latency histograms as they are stated, seconds, ascending.
    pub buckets: Vec<f64>,
    /// What is promised.
    pub slos: Vec<Slo>,
    /// Where nameservers, search list and ndots come from.
    pub resolv_conf: PathBuf,
    /// How this agent takes part in the mesh, when it does.
    pub mesh: Option<MeshConfig>,
    /// Where plans come from, when the agent follows any.
    pub controllers: Option<ControllersConfig>,
    /// Questions that `/probe?module=` and targets refer to.
    pub modules: BTreeMap<String, Module>,
    /// What is probed continuously.
    pub targets: Vec<TargetSpec>,
    /// Where in the text the above was written; no part of what it says.
    pub origins: Origins,
}

impl Config {
    /// Upper bounds of the latency histograms, seconds, ascending: those that are stated, and one
    /// on every threshold of an SLO.
    pub fn bounds(&self) -> Vec<f64> {
        slo::with_thresholds(&self.buckets, &self.slos)
    }

    /// What is no mistake (this machine may be none of the cluster's), and yet not what an agent
    /// in a pod is to go without.
    pub fn remark(&self) -> Option<&'static str> {
        let unknown = self.mesh.as_ref().is_some_and(|mesh| mesh.pod.is_none());
        unknown.then_some(
            "mesh.pod is not known: without MESHPROBE_POD_NAME, _NAMESPACE, _SERVICE_ACCOUNT and \
             _IP in its environment an agent gets no certificate, and ladders to istiod end at \
             http2",
        )
    }

    /// Every file that is named: a change of one may change what attempts do.
    ///
    /// Not those of the block `mesh`: the mesh's identity reads them itself, whenever they change,
    /// and that leaves what is configured as it was.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let modules = self.modules.values().filter_map(|module| match &module.kind {
            ModuleKind::Tls(module) => Some(&module.tls),
            ModuleKind::Http(module) => Some(&module.tls),
            ModuleKind::Hold(module) => Some(&module.tls),
            ModuleKind::Hbone(module) => Some(&module.tls),
            ModuleKind::Istiod(module) => Some(&module.tls),
            ModuleKind::Mtu(module) => Some(&module.tls),
            ModuleKind::Dns(_)
            | ModuleKind::Tcp(_)
            | ModuleKind::Capture(_)
            | ModuleKind::Ztunnel(_) => None,
        });
        let targets = self.targets.iter().filter_map(|target| match &target.probe.ask {
            Ask::Tls { module, .. } => Some(&module.tls),
            Ask::Http { module, .. } => Some(&module.tls),
            Ask::Hold { module, .. } => Some(&module.tls),
            Ask::Hbone { module, .. } => Some(&module.tls),
            Ask::Istiod { module, .. } => Some(&module.tls),
            Ask::Mtu { module, .. } => Some(&module.tls),
            Ask::Dns { .. } | Ask::Tcp { .. } | Ask::Capture { .. } | Ask::Ztunnel { .. } => None,
        });
        let mut files = BTreeSet::from([self.resolv_conf.clone()]);
        for tls in modules.chain(targets) {
            if let Roots::File(path) = &tls.roots {
                files.insert(path.clone());
            }
            if let Some(OwnCertificate::Files(identity)) = &tls.identity {
                files.insert(identity.certificate.clone());
                files.insert(identity.key.clone());
            }
        }
        files
    }
}

/// Who an agent is: constant labels of its metrics and attempts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Kubernetes node name; the host name by default.
    pub node: String,
    /// `topology.kubernetes.io/zone` of the node, when known.
    pub zone: Option<String>,
    /// Side of the mesh, when known.
    pub vantage: Option<Vantage>,
}

/// Bounds of the admin server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// Connections held at once; more are closed at once.
    pub max_connections: u32,
    /// Attempts of `/probe` under way at once; more get 429.
    pub max_probes: u32,
    /// Networks that `/probe?target=` may reach. Empty: any.
    pub probe_networks: Vec<IpNet>,
}

/// Bounds of the responder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponderConfig {
    /// Addresses and ports.
    pub listen: Vec<SocketAddr>,
    /// Connections held at once; more are closed at once.
    pub max_connections: u32,
    /// Longest body that is echoed, bytes; more gets 413.
    pub max_body: u64,
    /// Requests per second over all connections; more get 429.
    pub max_requests_per_second: u32,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Duration,
}

/// Bounds of an agent as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Attempts under way at once over all targets; a slot beyond it is missed, and counted.
    pub max_in_flight: u32,
    /// An attempt that starts later than this after its slot is inconclusive.
    pub max_schedule_lag: Duration,
}

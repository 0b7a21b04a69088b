//! How the agent takes part in the mesh: where istiod is, whom to trust, who it is itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::decode::{Field, Fields, listed};
use crate::config::server::{LABEL, environmental, is_label, set};
use crate::spec::PodIdentity;
use crate::target::{Endpoint, Vantage};

/// The port on which istiod serves certificates and xDS.
pub const ISTIOD_PORT: u16 = 15012;
/// The name that istiod's certificate carries.
pub const ISTIOD_NAME: &str = "istiod.istio-system.svc";
/// Where a projected token for istio-ca is mounted.
pub const TOKEN: &str = "/var/run/secrets/tokens/istio-token";
/// Where the ConfigMap `istio-ca-root-cert` is mounted.
pub const CA: &str = "/var/run/secrets/istio/root-cert.pem";
/// The cluster of a mesh that has one.
pub const CLUSTER_ID: &str = "Kubernetes";
/// The trust domain of a mesh that was given none.
pub const TRUST_DOMAIN: &str = "cluster.local";

/// The block `mesh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshConfig {
    /// istiod's gRPC port.
    pub istiod: Endpoint,
    /// The name that istiod's certificate must carry.
    pub server_name: String,
    /// The mounted `istio-ca-root-cert`: read again when it changes.
    pub ca: PathBuf,
    /// The projected service account token, audience istio-ca: read for each call.
    pub token: PathBuf,
    /// gRPC metadata `clusterid`.
    pub cluster_id: String,
    /// Trust domain of the mesh.
    pub trust_domain: String,
    /// Which pod this is; certificates and xDS need it.
    pub pod: Option<PodIdentity>,
    /// Whether a certificate of its own is obtained.
    pub certificate: bool,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            istiod: Endpoint { host: ISTIOD_NAME.parse().expect("a name"), port: ISTIOD_PORT },
            server_name: ISTIOD_NAME.to_owned(),
            ca: CA.into(),
            token: TOKEN.into(),
            cluster_id: CLUSTER_ID.to_owned(),
            trust_domain: TRUST_DOMAIN.to_owned(),
            pod: None,
            certificate: true,
        }
    }
}

/// The parts of a pod's identity and the variables that they are taken from.
pub(super) const PARTS: [(&str, &str); 4] = [
    ("name", "MESHPROBE_POD_NAME"),
    ("namespace", "MESHPROBE_POD_NAMESPACE"),
    ("service_account", "MESHPROBE_POD_SERVICE_ACCOUNT"),
    ("ip", "MESHPROBE_POD_IP"),
];

/// What a question takes from the configuration around it.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Of a whole attempt; `None` when it was wrong.
    pub(super) timeout: Option<Duration>,
    /// Side of the mesh, when stated.
    pub(super) vantage: Option<Vantage>,
    /// Kubernetes node, when stated: the host name is none.
    pub(super) node: Option<String>,
    /// Whether nothing was wrong with the two: what they leave open is only told then.
    pub(super) sound: bool,
    /// The block `mesh`; stand-ins where it was wrong.
    pub(super) mesh: Option<MeshConfig>,
    /// Parts of the pod's identity that are neither written nor in the environment.
    pub(super) lacks: Vec<(&'static str, &'static str)>,
}

impl Given {
    /// Says of the question in `block` that it needs `what` of a mesh that is not there.
    pub(super) fn require_mesh(&self, block: &Field<'_>, what: &str, instead: &str) {
        if self.mesh.is_none() {
            block.unvalued(
                format!("needs {what}, and there is no block `mesh`"),
                format!("write `mesh: {{}}` beside `modules`, or {instead}"),
            );
        }
    }

    /// Says of `field` that it needs to know the pod, when that is not known.
    pub(super) fn require_pod(&self, field: &Field<'_>) {
        let problem = "needs to know which pod this is";
        if self.mesh.is_none() {
            let fix = "write `mesh: {}` beside `modules`, and the pod under `mesh.pod`";
            field.unvalued(format!("{problem}, and there is no block `mesh`"), fix);
        } else if !self.lacks.is_empty() {
            let list = |part: fn(&(&'static str, &'static str)) -> &'static str| {
                listed(self.lacks.iter().map(|lack| part(lack).to_owned()).collect(), "and")
            };
            let (keys, variables) = (list(|lack| lack.0), list(|lack| lack.1));
            let verb = if self.lacks.len() == 1 { "is" } else { "are" };
            field.unvalued(
                format!("{problem}, and of mesh.pod {keys} {verb} not stated"),
                format!("write what is missing, or set {variables} in the environment"),
            );
        }
    }
}

/// `mesh`, and what its `pod` lacks.
pub(super) fn mesh(
    field: &Field<'_>,
    environment: &BTreeMap<String, String>,
) -> (MeshConfig, Vec<(&'static str, &'static str)>) {
    let mut mesh = MeshConfig::default();
    let mut fields = field.fields();
    if let Some(field) = fields.take("istiod") {
        let text = field.text();
        let parsed = text.map(|text| Endpoint::with_default_port(text, ISTIOD_PORT));
        set(&mut mesh.istiod, parsed.and_then(|parsed| field.accept(parsed, "an address")));
    }
    let name = fields.take("server_name").map(Field::noted);
    set(&mut mesh.server_name, name.and_then(|field| super::module::server_name(&field)));
    set(&mut mesh.ca, fields.take("ca").and_then(|field| field.file()));
    set(&mut mesh.token, fields.take("token").and_then(|field| field.file()));
    let cluster = fields.take("cluster_id");
    let label = |field: Field<'_>| checked(&field, is_label, "a cluster's ID", LABEL);
    set(&mut mesh.cluster_id, cluster.and_then(label));
    let domain = fields.take("trust_domain");
    set(&mut mesh.trust_domain, domain.and_then(|field| trust_domain(&field)));
    set(&mut mesh.certificate, fields.take("certificate").and_then(|f| f.flag()));
    let pod = fields.take("pod");
    let (pod, lacks) = match &pod {
        Some(field) => {
            let mut fields = field.fields();
            let pod = pod_identity(&mut fields, field, environment);
            fields.finish();
            pod
        }
        None => {
            let mut parent = field.clone();
            parent.path = "mesh.pod".to_owned();
            pod_identity(&mut parent.nothing(), &parent, environment)
        }
    };
    mesh.pod = pod;
    fields.finish();
    (mesh, lacks)
}

/// A trust domain, as `mesh` and the ladder to istiod take it.
pub(super) fn trust_domain(field: &Field<'_>) -> Option<String> {
    checked(field, is_trust_domain, "a trust domain", "lower-case letters, digits, . - and _")
}

/// The pod when nothing is missing or wrong, and what is missing.
fn pod_identity(
    fields: &mut Fields<'_>,
    block: &Field<'_>,
    environment: &BTreeMap<String, String>,
) -> (Option<PodIdentity>, Vec<(&'static str, &'static str)>) {
    let mut lacks = Vec::new();
    let parts = PARTS.map(|(key, variable)| {
        let (valid, rule): (fn(&str) -> bool, _) = match key {
            "ip" => (|text| text.parse::<IpAddr>().is_ok(), "an IP address"),
            _ => (is_name, "a Kubernetes name: lower-case letters, digits, - and ."),
        };
        let what = format!("a pod's {key}").replace('_', " ");
        if let Some(field) = fields.take(key) {
            return checked(&field, valid, &what, rule);
        }
        let Some(value) = environment.get(variable).filter(|value| !value.is_empty()) else {
            lacks.push((key, variable));
            return None;
        };
        if !valid(value) {
            let problem = format!("{value:?} of environment variable {variable} is not {what}");
            environmental(block, &format!("{}.{key}", block.path), problem, rule);
        }
        valid(value).then(|| value.clone())
    });
    let network = fields.take("network");
    let rule = "letters, digits, . - and _";
    let network = network.map(|field| checked(&field, is_network, "a network's name", rule));
    let [name, namespace, service_account, ip] = parts;
    let identity = || {
        Some(PodIdentity {
            name: name?,
            namespace: namespace?,
            service_account: service_account?,
            ip: ip?.parse().ok()?,
            network: network.unwrap_or_else(|| Some(String::new()))?,
        })
    };
    (identity(), lacks)
}

pub(super) fn checked(
    field: &Field<'_>,
    valid: fn(&str) -> bool,
    what: &str,
    rule: &str,
) -> Option<String> {
    let text = field.text()?;
    if !valid(text) {
        field.wrong(format!("is not {what}"), format!("write {rule}"));
    }
    valid(text).then(|| text.to_owned())
}

/// A name of Kubernetes' own (RFC 1123 subdomain).
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    (1..=253).contains(&text.len()) && text.chars().all(allowed)
}

/// By the SPIFFE ID standard.
fn is_trust_domain(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    (1..=255).contains(&text.len()) && text.chars().all(allowed)
}

fn is_network(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    text.len() <= 253 && text.chars().all(allowed)
}

//! A cluster as a controller sees it at one instant: what is probed, by whom, and what must hold.
//!
//! Plain data in the terms of Kubernetes and Istio. Knows nothing of the API that it was read
//! from; what could not be read is `None`, never empty.

pub mod mtls;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::target::Vantage;
use mtls::PeerAuthentication;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Everything that plans are made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cluster {
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Namespaces by name; those of chosen services and of the agents at least.
    pub namespaces: BTreeMap<String, Namespace>,
    /// meshprobe's own agents.
    pub agents: Vec<Agent>,
    /// Where ready controllers take the control channel.
    pub controllers: Vec<SocketAddr>,
    /// Services that are chosen to be called, each port of its own.
    pub services: Vec<Service>,
    /// CoreDNS: its Service and its replicas.
    pub coredns: ControlPlane,
    /// istiod: its Service and its replicas.
    pub istiod: ControlPlane,
    /// ztunnel pods by node.
    pub ztunnels: BTreeMap<String, IpAddr>,
    /// The DaemonSets of the data plane by name: `ztunnel`, `istio-cni-node`.
    pub daemon_sets: BTreeMap<String, DaemonSet>,
    /// Pods of the namespaces whose pods are watched, counted.
    pub pods: BTreeMap<String, NamespacePods>,
    /// Services that the API server calls for admission; `None` when that may not be read.
    pub webhooks: Option<Vec<Webhook>>,
    /// All PeerAuthentications; `None` when the cluster has no such kind, or it may not be read.
    pub peer_authentications: Option<Vec<PeerAuthentication>>,
    /// What was asked for and cannot be had, in the order of the objects.
    pub findings: Vec<Finding>,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
    /// Condition `Ready` is `True`.
    pub ready: bool,
}

/// A namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels: enrolment (`istio.io/dataplane-mode`) and waypoint (`istio.io/use-waypoint`).
    pub labels: Labels,
    /// `metadata.uid`.
    pub uid: Option<String>,
}

/// A namespace's pods, as far as capture is concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespacePods {
    /// Those that are to be captured.
    pub wanted: u32,
    /// Of those, captured by their annotation.
    pub captured: u32,
    /// Of those, ready and not captured.
    pub uncaptured: u32,
    /// The first few of them.
    pub uncaptured_names: Vec<String>,
    /// Neither captured nor ready.
    pub starting: u32,
    /// On the host's network: never captured.
    pub host_network: u32,
    /// The first few of them.
    pub host_network_names: Vec<String>,
}

/// A Service that the API server calls for admission
/// (`ValidatingWebhookConfiguration`, `MutatingWebhookConfiguration`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Webhook {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// The Service's port, 443 unless stated.
    pub port: u16,
    /// The webhook's own name.
    pub name: String,
    /// Whether requests are refused when it does not answer (`failurePolicy: Fail`).
    pub is_required: bool,
}

/// A pod, reduced to what decides how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `spec.nodeName`.
    pub node: String,
    /// `status.podIP`.
    pub ip: IpAddr,
    /// `spec.serviceAccountName`.
    pub service_account: String,
    /// Its labels.
    pub labels: Labels,
    /// Condition `Ready`, and not being deleted.
    pub ready: bool,
    /// Whether it is to be captured, by its labels, its namespace's and its network.
    pub wanted: Enrolment,
    /// Whether it is captured, by annotation `ambient.istio.io/redirection`.
    pub actual: Redirection,
    /// What it goes through on its way in, by `istio.io/use-waypoint` of pod or namespace.
    pub waypoint: Option<String>,
}

/// Whether a pod is to be part of the ambient mesh (`istio.io/dataplane-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Enrolment {
    /// Its own label or its namespace's says ambient, and nothing keeps it out.
    Ambient,
    /// Not labelled, labelled `none`, on the host's network, or with a sidecar.
    None,
}

/// What istio-cni says of a pod's traffic (annotation `ambient.istio.io/redirection`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Redirection {
    /// `enabled`.
    Enabled,
    /// `pending`.
    Pending,
    /// No annotation.
    Absent,
}

/// One of meshprobe's agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its pod.
    pub pod: Pod,
    /// The side of the mesh that it stands on.
    pub vantage: Vantage,
}

/// One port of a Service that is to be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.clusterIP`; `None` for a headless one.
    pub cluster_ip: Option<IpAddr>,
    /// The port that callers dial.
    pub port: u16,
    /// What is requested of it: `/` unless its annotation `meshprobe.dev/path` says otherwise.
    pub path: String,
    /// What answers on it; not the ones that are not ready.
    pub endpoints: Vec<Endpoint>,
    /// What a Service goes through, by `istio.io/use-waypoint` of Service or namespace.
    pub waypoint: Option<String>,
    /// The ready pods of that waypoint, by name; empty when they are not known.
    pub waypoint_pods: Vec<Pod>,
    /// `metadata.uid`.
    pub uid: Option<String>,
}

/// A pod behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod.
    pub pod: Pod,
    /// The port that the pod listens on.
    pub target_port: u16,
}

/// A part of the control plane that every node needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlPlane {
    /// The Service's address; `None` when there is no such Service.
    pub service: Option<SocketAddr>,
    /// Its ready replicas by pod name.
    pub replicas: BTreeMap<String, SocketAddr>,
    /// `metadata.uid` of the Service.
    pub uid: Option<String>,
}

/// How far a DaemonSet got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaemonSet {
    /// `status.desiredNumberScheduled`.
    pub desired: u32,
    /// `status.numberReady`.
    pub ready: u32,
    /// `status.updatedNumberScheduled`.
    pub updated: u32,
}

/// Something that a user asked for and that cannot be had: told by `check`, in a metric and as an
/// Event on the object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// The object that is wrong, or in whose place nothing was found.
    pub object: ObjectRef,
    /// What is wrong, as a closed word: a metric label and the reason of the Event.
    pub reason: FindingReason,
    /// What, where, and how to mend it: one printable line of at most 512 characters.
    pub message: String,
}

/// An object of the Kubernetes API, or of the controller's configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `Service`, `Namespace`, `Pod`, …
    pub kind: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.uid`, when the object exists.
    pub uid: Option<String>,
}

impl ObjectRef {
    /// An object by its names.
    pub fn new(kind: &str, namespace: &str, name: &str, uid: Option<String>) -> Self {
        let [kind, namespace, name] = [kind, namespace, name].map(str::to_owned);
        Self { kind, namespace, name, uid }
    }
}

/// What can be wrong with what a user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingReason {
    /// Configuration or annotation names a Service that does not exist.
    ServiceNotFound,
    /// The Service has no such port.
    PortNotFound,
    /// Nothing ready is behind the port.
    NoEndpoints,
    /// An annotation's value is out of range or not of its kind.
    BadAnnotation,
    /// A label's value is none that it may have.
    BadLabel,
    /// An object cannot be understood, and is as if it were not there.
    BadObject,
    /// Two objects claim one target.
    Conflict,
    /// The API does not let the controller read something that it needs.
    Forbidden,
    /// More was asked for than the bounds allow.
    TooMany,
    /// A component of the mesh is broken.
    IncidentOpened,
    /// It is whole again.
    IncidentClosed,
}

impl FindingReason {
    /// Every reason that a read cluster can have, in a metric each; incidents have their own.
    pub const ALL: [Self; 9] = [
        Self::ServiceNotFound,
        Self::PortNotFound,
        Self::NoEndpoints,
        Self::BadAnnotation,
        Self::BadLabel,
        Self::BadObject,
        Self::Conflict,
        Self::Forbidden,
        Self::TooMany,
    ];

    /// The word of Events and, in its own case, of logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceNotFound => "ServiceNotFound",
            Self::PortNotFound => "PortNotFound",
            Self::NoEndpoints => "NoEndpoints",
            Self::BadAnnotation => "BadAnnotation",
            Self::BadLabel => "BadLabel",
            Self::BadObject => "BadObject",
            Self::Conflict => "Conflict",
            Self::Forbidden => "Forbidden",
            Self::TooMany => "TooMany",
            Self::IncidentOpened => "IncidentOpened",
            Self::IncidentClosed => "IncidentClosed",
        }
    }
}

impl Namespace {
    /// Whether its pods are to be captured unless they say otherwise
    /// (`istio.io/dataplane-mode: ambient`).
    pub fn is_ambient(&self) -> bool {
        self.labels.get("istio.io/dataplane-mode").is_some_and(|mode| mode == "ambient")
    }
}

impl NamespacePods {
    /// Names that are kept of each kind.
    const NAMED: usize = 20;

    /// Takes in one pod.
    pub fn add(&mut self, pod: &Pod, host_network: bool) {
        if host_network {
            self.host_network += 1;
            if self.host_network_names.len() < Self::NAMED {
                self.host_network_names.push(pod.name.clone());
            }
        }
        if pod.wanted != Enrolment::Ambient {
            return;
        }
        self.wanted += 1;
        match (pod.actual, pod.ready) {
            (Redirection::Enabled, _) => self.captured += 1,
            (_, false) => self.starting += 1,
            (_, true) => {
                self.uncaptured += 1;
                if self.uncaptured_names.len() < Self::NAMED {
                    self.uncaptured_names.push(pod.name.clone());
                }
            }
        }
    }
}

impl Pod {
    /// Its identity in the mesh.
    pub fn spiffe_id(&self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/ns/{}/sa/{}", self.namespace, self.service_account)
    }
}

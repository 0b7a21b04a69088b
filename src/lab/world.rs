//! The lab's mesh as data: nodes, pods, Services, modes. Everything that stands in for a part of
//! a mesh (ztunnels, istiod, DNS) reads the same world; nothing here opens a socket.

use std::net::{IpAddr, SocketAddr};

/// The trust domain.
pub const TRUST_DOMAIN: &str = "cluster.local";

/// A whole small mesh.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Node names.
    pub nodes: Vec<String>,
    /// Every pod.
    pub pods: Vec<Pod>,
    /// Every Service.
    pub services: Vec<Service>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
    /// The node it runs on.
    pub node: String,
    /// Pod address.
    pub ip: IpAddr,
    /// Whether it is enrolled in the mesh.
    pub ambient: bool,
    /// Container ports.
    pub ports: Vec<PodPort>,
}

/// A container port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodPort {
    /// The number that callers dial.
    pub number: u16,
    /// Whether plaintext is denied here (the effective PeerAuthentication mode is STRICT).
    pub strict: bool,
    /// Where the application listens; `None` is a closed port. Behind a stand-in of capture this
    /// is not the pod's own address.
    pub application: Option<SocketAddr>,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Virtual address.
    pub ip: IpAddr,
    /// Port, and the port of the pods behind it.
    pub ports: Vec<(u16, u16)>,
    /// Names of the pods behind it, in the Service's namespace.
    pub endpoints: Vec<String>,
}

impl World {
    /// The pod at `ip`.
    pub fn pod_at(&self, ip: IpAddr) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.ip == ip)
    }

    /// The pod of that name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.namespace == namespace && pod.name == name)
    }

    /// The Service at `ip`.
    pub fn service_at(&self, ip: IpAddr) -> Option<&Service> {
        self.services.iter().find(|service| service.ip == ip)
    }

    /// The pods behind `service`.
    pub fn endpoints<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Pod> {
        service.endpoints.iter().filter_map(|name| self.pod(&service.namespace, name))
    }
}

impl Pod {
    /// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub fn spiffe_id(&self) -> String {
        format!("spiffe://{TRUST_DOMAIN}/ns/{}/sa/{}", self.namespace, self.service_account)
    }

    /// The name of what owns it, as istiod tells ztunnels: that of the pod without its number.
    pub fn workload(&self) -> &str {
        match self.name.rsplit_once('-') {
            Some((owner, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => owner,
            _ => &self.name,
        }
    }

    /// The container port `number`.
    pub fn port(&self, number: u16) -> Option<&PodPort> {
        self.ports.iter().find(|port| port.number == number)
    }
}

impl Service {
    /// `<name>.<namespace>.svc.cluster.local`.
    pub fn hostname(&self) -> String {
        format!("{}.{}.svc.{TRUST_DOMAIN}", self.name, self.namespace)
    }
}

//! What both sides have in common: the world, its applications, istiod, and how a side is broken.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use meshprobe::config::{Identity, ResponderConfig};
use meshprobe::lab::ca::{Authority, Subject};
use meshprobe::lab::istiod::{Istiod, Setup, Tokens};
use meshprobe::lab::world::{Pod, PodPort, Service, World};
use meshprobe::responder::Responder;
use meshprobe::target::Vantage;
use tempfile::TempDir;

use super::network::{GONE, ISTIOD, ISTIOD_OF_ZTUNNELS, Network, PODS, PodSpec, SWITCH};

/// Served in plaintext and by HBONE.
pub(crate) const OPEN: u16 = 8080;
/// Plaintext is denied.
pub(crate) const STRICT: u16 = 8081;

/// One side of the comparison: pods, each ambient one with its own ztunnel.
pub(crate) trait Mesh {
    fn base(&self) -> &Base;
    /// Where a ztunnel serves readiness and metrics, as plain pods reach it.
    fn pages(&self) -> Ipv4Addr;
    /// The ztunnel of `pod` dies.
    fn kill(&mut self, pod: &str);
    /// A fresh one, with empty pools and all certificates; returns when it is ready.
    fn start(&mut self, pod: &str);
    fn freeze(&mut self, pod: &str);
    fn thaw(&mut self, pod: &str);
    /// A fresh one that is never told of its own workload.
    fn start_unknown(&mut self, pod: &str);
    /// A fresh one while the CA does not sign; ready as far as it says itself.
    fn start_without_certificate(&mut self, pod: &str);
    /// The CA signs again.
    fn heal_ca(&mut self);
}

/// Everything but the ztunnels.
pub(crate) struct Base {
    pub(crate) network: Network,
    pub(crate) world: Arc<World>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) istiod: Arc<Istiod>,
    pub(crate) runtime: tokio::runtime::Runtime,
    files: TempDir,
}

impl Base {
    pub(crate) fn up(side: &'static str) -> Self {
        let network = Network::up(side);
        let world = Arc::new(world());
        let authority = Arc::new(Authority::new("cluster.local").expect("a root"));
        let istiod = {
            let (world, authority) = (Arc::clone(&world), Arc::clone(&authority));
            network.settle(SWITCH, async move || {
                let listen = [ISTIOD, ISTIOD_OF_ZTUNNELS].map(|ip| SocketAddr::from((ip, 15012)));
                let setup = Setup { listen: listen.to_vec(), monitoring: None };
                let tokens = Arc::new(Tokens::default());
                Istiod::start(setup, world, authority, tokens).await.expect("an own address")
            })
        };
        let files = tempfile::tempdir().expect("a directory");
        std::fs::write(files.path().join("root-cert.pem"), authority.root_pem()).expect("written");
        for pod in &world.pods {
            let token = istiod.mint(pod);
            let issued = authority.issue(&Subject::workload(pod.spiffe_id())).expect("issued");
            let write = |what: &str, text: String| {
                std::fs::write(files.path().join(format!("{}-{what}", pod.name)), text)
                    .expect("written");
            };
            write("token", token);
            write("cert", issued.chain_pem);
            write("key", issued.key.serialize_pem());
        }
        for pod in PODS {
            network.settle(pod.name, async move || respond(pod));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        Self { network, world, authority, istiod: Arc::new(istiod), runtime, files }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.files.path()
    }

    /// The mesh's roots, PEM.
    pub(crate) fn roots(&self) -> PathBuf {
        self.directory().join("root-cert.pem")
    }

    /// The token, certificate (`cert`) or `key` of `pod`.
    pub(crate) fn file(&self, pod: &str, what: &str) -> PathBuf {
        self.directory().join(format!("{pod}-{what}"))
    }

    pub(crate) fn pod(&self, name: &str) -> &Pod {
        self.world.pods.iter().find(|pod| pod.name == name).expect("a pod of this mesh")
    }
}

/// Serves both ports of `pod` from now on. Must be called within a runtime of its namespace.
fn respond(pod: PodSpec) {
    let vantage = if pod.ambient { Vantage::Ambient } else { Vantage::Plain };
    let identity = Identity { node: pod.name.to_owned(), zone: None, vantage: Some(vantage) };
    let listen = [OPEN, STRICT].map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    let config = ResponderConfig {
        listen: listen.to_vec(),
        max_connections: 256,
        max_body: 64 * 1024,
        max_requests_per_second: 1000,
        idle_timeout: Duration::from_secs(300),
    };
    let responder = Responder::bind(&config, &identity).expect("a namespace of its own");
    tokio::spawn(responder.serve(std::future::pending()));
}

fn world() -> World {
    let port = |pod: &PodSpec, number| PodPort {
        number,
        strict: pod.ambient && number == STRICT,
        application: Some(SocketAddr::from((pod.ip, number))),
    };
    let pod = |spec: PodSpec| Pod {
        name: spec.name.to_owned(),
        namespace: if spec.ambient { "default" } else { "ingress" }.to_owned(),
        service_account: spec.name.to_owned(),
        node: format!("node-{}", spec.name),
        ip: IpAddr::V4(spec.ip),
        ambient: spec.ambient,
        ports: vec![port(&spec, OPEN), port(&spec, STRICT)],
    };
    let service = |name: &str, last, target| Service {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        ip: IpAddr::from([10, 78, 0, last]),
        ports: vec![(80, target)],
        endpoints: vec!["amb2".to_owned()],
    };
    World {
        nodes: PODS.iter().map(|pod| format!("node-{}", pod.name)).collect(),
        pods: PODS.into_iter().chain([GONE]).map(pod).collect(),
        services: vec![service("echo", 1, OPEN), service("strict", 2, STRICT)],
    }
}

//! Climbs to an istiod with our own client, and says where it came to an end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meshprobe::failure::{Fault, Reason};
use meshprobe::istiod::messages::DeltaDiscoveryResponse;
use meshprobe::istiod::{Session, Signed, Token};
use meshprobe::lab::ca::Authority;
use meshprobe::lab::istiod::{Istiod, IstiodCondition, Setup, Tokens};
use meshprobe::lab::world::{Pod, PodPort, Service, World};
use meshprobe::net;
use meshprobe::outcome::{Rung, TlsFacts};
use meshprobe::spec::{PodIdentity, Roots, TlsSettings};
use meshprobe::target::{Endpoint, Host};
use meshprobe::tls::{Client, Mesh};
use rcgen::{CertificateParams, KeyPair};
use tokio::time::{Instant, timeout_at};

/// Long enough that only a server that never answers meets it.
const PATIENCE: Duration = Duration::from_millis(700);

/// An istiod with two listeners, and what a pod needs to climb to it.
pub(super) struct Fixture {
    pub(super) istiod: Istiod,
    pub(super) world: Arc<World>,
    pub(super) roots: String,
}

impl Fixture {
    pub(super) async fn start() -> Self {
        let world = Arc::new(world());
        let authority = Arc::new(Authority::new("cluster.local").expect("a root"));
        let roots = authority.root_pem().to_owned();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let setup = Setup { listen: vec![any, any], monitoring: Some(any) };
        let tokens = Arc::new(Tokens::default());
        let started = Istiod::start(setup, Arc::clone(&world), authority, tokens).await;
        Self { istiod: started.expect("loopback has ports"), world, roots }
    }

    /// One that is broken everywhere.
    pub(super) async fn broken(condition: IstiodCondition) -> Self {
        let fixture = Self::start().await;
        fixture.istiod.set(condition).await.expect("in force");
        fixture
    }

    pub(super) fn pod(&self, name: &str) -> &Pod {
        self.world.pods.iter().find(|pod| pod.name == name).expect("a pod of the world")
    }

    /// As the pod `name`, with a token of its own, by the first listener.
    pub(super) fn climber(&self, name: &str) -> Climber {
        let pod = self.pod(name);
        Climber {
            address: self.istiod.addresses()[0],
            roots: self.roots.clone(),
            token: self.istiod.mint(pod),
            names: vec![format!("/{}", pod.ip)],
            validity: Duration::ZERO,
            pod: identity(pod),
        }
    }
}

pub(super) fn identity(pod: &Pod) -> PodIdentity {
    PodIdentity {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        service_account: pod.service_account.clone(),
        ip: pod.ip,
        network: String::new(),
    }
}

fn world() -> World {
    let port = |strict| PodPort { number: 8080, strict, application: None };
    let pod = |name: &str, last: u8, ambient, strict| Pod {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        service_account: format!("{name}-account"),
        node: format!("node-{last}"),
        ip: IpAddr::from([10, 0, 0, last]),
        ambient,
        ports: vec![port(strict)],
    };
    let echo = Service {
        name: "echo".to_owned(),
        namespace: "default".to_owned(),
        ip: IpAddr::from([10, 1, 0, 1]),
        ports: vec![(80, 8080)],
        endpoints: vec!["ambient".to_owned()],
    };
    World {
        nodes: vec!["node-1".to_owned(), "node-2".to_owned(), "node-3".to_owned()],
        pods: vec![
            pod("ambient", 1, true, false),
            pod("strict", 2, true, true),
            pod("plain", 3, false, false),
        ],
        services: vec![echo],
    }
}

/// Who climbs, where to, and with what.
#[derive(Clone)]
pub(super) struct Climber {
    pub(super) address: SocketAddr,
    pub(super) roots: String,
    pub(super) token: String,
    pub(super) names: Vec<String>,
    pub(super) validity: Duration,
    pub(super) pod: PodIdentity,
}

/// What was found at the top.
pub(super) struct Top {
    pub(super) answer: DeltaDiscoveryResponse,
    pub(super) signed: Signed,
}

impl Climber {
    /// Up to the top, or the rung that broke.
    pub(super) async fn climb(&self) -> Result<Top, (Rung, Reason, String)> {
        let mut session = self.session().await?;
        let token = self.token().await;
        let (pod, names) = (&self.pod, self.names.clone());
        let subscribed = session.delta_subscribe(&token, "Kubernetes", pod, names);
        let answer = step(Rung::Xds, subscribed).await?;
        let signed = self.sign(&mut session).await?;
        session.close().await;
        Ok(Top { answer, signed })
    }

    /// The certificate alone.
    pub(super) async fn csr(&self) -> Result<Signed, (Rung, Reason, String)> {
        let mut session = self.session().await?;
        self.sign(&mut session).await
    }

    async fn sign(&self, session: &mut Session) -> Result<Signed, (Rung, Reason, String)> {
        let key = KeyPair::generate().expect("a key");
        let request = CertificateParams::default().serialize_request(&key).expect("a CSR");
        let csr = request.pem().expect("PEM");
        let token = self.token().await;
        let signing = session.create_certificate(&token, "Kubernetes", &csr, self.validity);
        step(Rung::Csr, signing).await
    }

    pub(super) async fn session(&self) -> Result<Session, (Rung, Reason, String)> {
        let stream = step(Rung::Tcp, net::connect(self.address)).await?;
        let mesh = Arc::new(Mesh::default());
        mesh.trust(self.roots.as_bytes()).expect("a root");
        let name = "istiod.istio-system.svc".to_owned();
        let settings = TlsSettings {
            roots: Roots::Mesh,
            server_name: Some(name.clone()),
            ..TlsSettings::default()
        };
        let client = Client::load(&settings, &["h2"], &mesh).expect("good settings");
        let host = Host::Name(name);
        let mut facts: Option<TlsFacts> = None;
        let stream = step(Rung::Tls, client.handshake(stream, &host, &mut facts)).await?;
        let authority = Endpoint { host, port: 15012 };
        step(Rung::Http2, Session::begin(stream, &authority)).await
    }

    async fn token(&self) -> Token {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &self.token).expect("written");
        Token::read(file.path()).await.expect("a whole token")
    }
}

async fn step<T>(
    rung: Rung,
    doing: impl Future<Output = Result<T, Fault>>,
) -> Result<T, (Rung, Reason, String)> {
    match timeout_at(Instant::now() + PATIENCE, doing).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(fault)) => Err((rung, fault.reason, fault.detail)),
        Err(_) => Err((rung, Reason::Timeout, String::new())),
    }
}

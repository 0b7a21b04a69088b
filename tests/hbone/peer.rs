//! A small mesh: a root, the prober as a member of it, and peers that serve TLS on loopback.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use meshprobe::expectation::Expectation;
use meshprobe::failure::Reason;
use meshprobe::outcome::{HboneFacts, Outcome};
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{
    HboneModule, HttpModule, HttpVersion, IpPreference, Module, ModuleKind, OwnCertificate, Roots,
    Timeouts, TlsSettings, Verify,
};
use meshprobe::target::{Endpoint, Host};
use meshprobe::tls::{Credential, Mesh};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::pki::{Authority, Issued, Leaf};
use super::support::{TIMEOUT, server};

pub(crate) const PEER_ID: &str = "spiffe://cluster.local/ns/web/sa/server";
pub(crate) const OWN_ID: &str = "spiffe://cluster.local/ns/probe/sa/meshprobe";

/// Never met by a peer that answers, however busy the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A root, and a prober that knows it and carries a certificate of it.
pub(crate) struct Realm {
    pub(crate) root: Authority,
    pub(crate) environment: Environment,
}

impl Realm {
    pub(crate) fn new() -> Self {
        let realm = Self::without_certificate();
        realm.carry(&realm.root.issue(&Leaf::named(&[OWN_ID])));
        realm
    }

    pub(crate) fn without_certificate() -> Self {
        let root = Authority::root("mesh root");
        let mesh = Mesh::default();
        mesh.trust(root.pem().as_bytes()).expect("a good root");
        let environment = Environment { mesh: Arc::new(mesh), ..Environment::default() };
        Self { root, environment }
    }

    pub(crate) fn carry(&self, issued: &Issued) {
        let credential = Credential::new(issued.chain_pem().as_bytes(), &issued.key);
        self.environment.mesh.carry(credential.expect("a good pair"));
    }

    /// A certificate of the peer, as good as it gets.
    pub(crate) fn peer(&self) -> Issued {
        self.root.issue(&Leaf::named(&[PEER_ID]))
    }

    /// What an HBONE peer serves with.
    pub(crate) fn serving(&self) -> ServerConfig {
        serving(&self.peer(), Clients::Required(&self.root))
    }

    pub(crate) fn probe(&self, module: HboneModule, address: &str) -> Probe {
        self.bounded(module, address, Timeouts::total(PATIENCE))
    }

    pub(crate) fn bounded(&self, module: HboneModule, address: &str, timeouts: Timeouts) -> Probe {
        let kind = ModuleKind::Hbone(Box::new(module));
        let module = Module { kind, timeouts, expect: Expectation::Reply };
        let spec = module.aim(address).expect("a good address");
        Probe::prepare(&spec, &self.environment).expect("good files")
    }

    /// Knocks at `peer` without a certificate.
    pub(crate) async fn knock(&self, peer: SocketAddr) -> Outcome {
        self.probe(knocking(), &peer.to_string()).attempt().await
    }

    /// Calls a far end through `peer`.
    pub(crate) async fn call(&self, peer: SocketAddr) -> Outcome {
        self.probe(calling(peer), FAR).attempt().await
    }

    /// The same with a deadline that is to be met; not told when this machine missed it.
    pub(crate) async fn call_briefly(&self, peer: SocketAddr) -> Outcome {
        let probe = self.bounded(calling(peer), FAR, Timeouts::total(TIMEOUT));
        unless_starved(&probe).await
    }
}

/// Attempts until this machine is not too busy to notice a deadline in time.
pub(crate) async fn unless_starved(probe: &Probe) -> Outcome {
    loop {
        let outcome = probe.attempt().await;
        if outcome.failure.as_ref().map(|failure| failure.reason) != Some(Reason::ScheduleLag) {
            return outcome;
        }
    }
}

/// A URL behind the tunnel; nobody but the peer ever sees the address.
pub(crate) const FAR: &str = "http://192.0.2.7:8080/ping";
pub(crate) const FAR_AUTHORITY: &str = "192.0.2.7:8080";

pub(crate) fn knocking() -> HboneModule {
    HboneModule {
        credentialed: false,
        tls: TlsSettings {
            roots: Roots::Mesh,
            verify: Verify::Spiffe(PEER_ID.to_owned()),
            ..TlsSettings::default()
        },
        peer: None,
        request: request(),
        warm: false,
        ip: IpPreference::default(),
    }
}

pub(crate) fn calling(peer: SocketAddr) -> HboneModule {
    let tls = TlsSettings { identity: Some(OwnCertificate::Mesh), ..knocking().tls };
    let peer = Some(Endpoint { host: Host::Ip(peer.ip()), port: peer.port() });
    HboneModule { credentialed: true, tls, peer, ..knocking() }
}

pub(crate) fn request() -> HttpModule {
    HttpModule {
        method: Method::GET,
        headers: Vec::new(),
        body: None,
        version: HttpVersion::Http1,
        body_regex: None,
        body_limit: 64 * 1024,
        redirects: 0,
        decompress: false,
        keepalive: false,
        tls: TlsSettings::default(),
        ip: IpPreference::default(),
    }
}

#[track_caller]
pub(crate) fn hbone(outcome: &Outcome) -> &HboneFacts {
    outcome.facts.hbone.as_ref().expect("HBONE was spoken")
}

#[track_caller]
pub(crate) fn detail(outcome: &Outcome) -> &str {
    &outcome.failure.as_ref().expect("the attempt must fail").detail
}

/// Which clients a peer serves.
pub(crate) enum Clients<'a> {
    Anonymous,
    Required(&'a Authority),
    Optional(&'a Authority),
}

/// TLS 1.3 with ALPN h2, showing `issued` whatever it holds.
pub(crate) fn serving(issued: &Issued, clients: Clients<'_>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(issued.key.clone()).into();
    let key = provider.key_provider.load_private_key(key).expect("a good key");
    let chain = issued.chain.iter().cloned().map(CertificateDer::from).collect();
    let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let verifier = |root: &Authority| {
        let mut roots = RootCertStore::empty();
        roots.add(root.der().into()).expect("a good root");
        WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a known version");
    let builder = match clients {
        Clients::Anonymous => builder.with_no_client_auth(),
        Clients::Required(root) => {
            builder.with_client_cert_verifier(verifier(root).build().expect("a root"))
        }
        Clients::Optional(root) => builder.with_client_cert_verifier(
            verifier(root).allow_unauthenticated().build().expect("a root"),
        ),
    };
    let mut config = builder.with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// What a peer saw of one client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Vec<Vec<u8>>,
    /// `None` when the handshake was not completed.
    pub(crate) kind: Option<HandshakeKind>,
}

/// Every client that a peer has seen so far.
pub(crate) type Clientele = Arc<Mutex<Vec<Seen>>>;

/// Serves each client that comes through the handshake with `serve`.
pub(crate) async fn peer<F, Fut>(config: ServerConfig, serve: F) -> (SocketAddr, Clientele)
where
    F: Fn(TlsStream<TcpStream>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (config, seen) = (Arc::new(config), Clientele::default());
    let told = Arc::clone(&seen);
    let address = server(move |stream| {
        let (config, serve, told) = (Arc::clone(&config), serve.clone(), Arc::clone(&told));
        async move {
            let Ok(start) = LazyConfigAcceptor::new(Default::default(), stream).await else {
                return;
            };
            let hello = start.client_hello();
            let mut seen = Seen {
                server_name: hello.server_name().map(str::to_owned),
                alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
                kind: None,
            };
            let accepted = start.into_stream(config).await;
            seen.kind =
                accepted.as_ref().ok().and_then(|stream| stream.get_ref().1.handshake_kind());
            told.lock().expect("no panic while held").push(seen);
            if let Ok(stream) = accepted {
                serve(stream).await;
            }
        }
    })
    .await;
    (address, seen)
}

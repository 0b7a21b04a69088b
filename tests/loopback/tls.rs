//! Handshakes against servers that are good, or bad in one way.

mod chain;
mod client_certificate;
mod files;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meshprobe::expectation::Expectation;
use meshprobe::outcome::{Outcome, TlsFacts};
use meshprobe::probe::{PrepareError, Probe};
use meshprobe::spec::{
    IpPreference, Module, ModuleKind, Roots, Timeouts, TlsModule, TlsSettings, Verify,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::pki::{Authority, Issued};
use super::support::{environment, server};

/// Long enough that no handshake on a busy machine meets it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The name in good certificates.
const NAME: &str = "good.test";

/// A root, and its certificate in a file.
struct Trust {
    root: Authority,
    dir: TempDir,
    file: PathBuf,
}

impl Trust {
    fn new() -> Self {
        let root = Authority::root("root");
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let file = root.write(dir.path(), "root.pem");
        Self { root, dir, file }
    }

    /// Trusts the root and verifies [`NAME`].
    fn settings(&self) -> TlsSettings {
        TlsSettings {
            roots: Roots::File(self.file.clone()),
            server_name: Some(NAME.to_owned()),
            ..TlsSettings::default()
        }
    }

    /// Trusts the root and verifies as stated.
    fn verifying(&self, verify: Verify) -> TlsSettings {
        TlsSettings { verify, ..self.settings() }
    }
}

fn prepare(
    tls: TlsSettings,
    timeouts: Timeouts,
    address: SocketAddr,
) -> Result<Probe, PrepareError> {
    let kind = ModuleKind::Tls(TlsModule { tls, ip: IpPreference::default() });
    let module = Module { kind, timeouts, expect: Expectation::Reply };
    let spec = module.aim(&address.to_string()).expect("a good address");
    Probe::prepare(&spec, &environment())
}

/// One attempt that no deadline ends.
async fn ask(tls: TlsSettings, address: SocketAddr) -> Outcome {
    let probe = prepare(tls, Timeouts::total(PATIENCE), address).expect("good files");
    probe.attempt().await
}

#[track_caller]
fn tls_facts(outcome: &Outcome) -> &TlsFacts {
    outcome.facts.tls.as_ref().expect("the server showed something")
}

#[track_caller]
fn detail(outcome: &Outcome) -> &str {
    &outcome.failure.as_ref().expect("the attempt must fail").detail
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

/// Which client certificates a server wants.
enum Clients<'a> {
    Anonymous,
    Required(&'a Authority),
    Optional(&'a Authority),
}

/// A server's settings, showing `issued` whatever it holds.
fn serving(
    issued: &Issued,
    versions: &[&'static SupportedProtocolVersion],
    clients: Clients<'_>,
) -> ServerConfig {
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
        .with_protocol_versions(versions)
        .expect("known versions");
    let builder = match clients {
        Clients::Anonymous => builder.with_no_client_auth(),
        Clients::Required(root) => {
            builder.with_client_cert_verifier(verifier(root).build().expect("a root"))
        }
        Clients::Optional(root) => builder.with_client_cert_verifier(
            verifier(root).allow_unauthenticated().build().expect("a root"),
        ),
    };
    builder.with_cert_resolver(Arc::new(shown))
}

/// What a server saw of one client.
#[derive(Debug)]
struct Seen {
    server_name: Option<String>,
    kind: Option<HandshakeKind>,
    client_certificates: usize,
    /// Whether the client said that it is done, instead of just going away.
    orderly: bool,
}

/// Serves TLS; tells of each client whose handshake it completed.
async fn tls_server(config: ServerConfig) -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (tell, told) = mpsc::unbounded_channel();
    let address = server(move |stream| {
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let orderly = matches!(stream.read(&mut [0; 64]).await, Ok(0));
            let session = stream.get_ref().1;
            let _ = tell.send(Seen {
                server_name: session.server_name().map(str::to_owned),
                kind: session.handshake_kind(),
                client_certificates: session.peer_certificates().unwrap_or_default().len(),
                orderly,
            });
        }
    })
    .await;
    (address, told)
}

/// Serves `issued` to anyone, in every version.
async fn showing(issued: &Issued) -> SocketAddr {
    tls_server(serving(issued, BOTH, Clients::Anonymous)).await.0
}

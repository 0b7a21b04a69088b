//! TLS as a prober needs it: every handshake fresh and full, and the chain that was shown kept
//! as a fact also when it is not trusted.
//!
//! The only user of rustls' configuration. Knows nothing of probes.

mod fault;
mod inspect;
mod material;
mod mesh;
mod request;
mod shared_key;
mod unidentified;
mod verify;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::io::{AsyncBufRead, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::failure::{Fault, Reason};
use crate::net::Stream;
use crate::outcome::TlsFacts;
use crate::spec::{OwnCertificate, TlsSettings, TlsVersion};
use crate::target::Host;

pub use fault::{io_fault, is_tls};
pub use inspect::digest as sha256;
pub use material::LoadError;
pub use mesh::{Credential, Mesh};
pub use request::Request;
pub use shared_key::{
    KeyError, LONGEST_SECRET, SHORTEST_SECRET, SharedKey, shared_client, shared_server,
};
pub use unidentified::{Verdict, await_verdict};
use verify::{Observed, Observer};

/// How long [`settle`] waits for a server that shows neither acceptance nor rejection.
const SETTLE: Duration = Duration::from_millis(250);

/// Makes handshakes as one [`TlsSettings`] states; its files are read once, here.
#[derive(Clone)]
pub struct Client {
    /// Everything but the verifier and the own certificate, which watch one handshake each.
    base: ClientConfig,
    observer: Observer,
    own: Own,
    server_name: Option<ServerName<'static>>,
    min_remaining: Option<f64>,
}

/// Where the own certificate comes from.
#[derive(Clone)]
enum Own {
    None,
    Read(Arc<rustls::sign::CertifiedKey>),
    Mesh(Arc<Mesh>),
}

impl Own {
    fn current(&self) -> Result<Option<Arc<rustls::sign::CertifiedKey>>, Fault> {
        match self {
            Self::None => Ok(None),
            Self::Read(key) => Ok(Some(Arc::clone(key))),
            Self::Mesh(mesh) => mesh.valid_credential(SystemTime::now()).map(Some),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the files of `settings`; what they leave to the mesh is taken from `mesh` at each
    /// handshake. `default_alpn` is offered when the settings offer none.
    pub fn load(
        settings: &TlsSettings,
        default_alpn: &[&str],
        mesh: &Arc<Mesh>,
    ) -> Result<Self, LoadError> {
        let provider = provider();
        let versions: Vec<_> = [TlsVersion::V1_2, TlsVersion::V1_3]
            .into_iter()
            .filter(|version| settings.min_version.is_none_or(|min| *version >= min))
            .filter(|version| settings.max_version.is_none_or(|max| *version <= max))
            .map(|version| match version {
                TlsVersion::V1_2 => &rustls::version::TLS12,
                TlsVersion::V1_3 => &rustls::version::TLS13,
            })
            .collect();
        let observer = Observer::load(settings, &provider, mesh)?;
        let mut base = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| LoadError::settings("tls.min_version", error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(observer.clone()))
            .with_no_client_auth();
        base.resumption = Resumption::disabled();
        base.alpn_protocols = match settings.alpn.as_slice() {
            [] => default_alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
            stated => stated.iter().map(|name| name.as_bytes().to_vec()).collect(),
        };
        let server_name = settings.server_name.as_ref().map(|name| {
            let problem = || format!("`{name}` is no DNS name or address");
            server_name(name).ok_or_else(|| LoadError::settings("tls.server_name", problem()))
        });
        Ok(Self {
            base,
            observer,
            own: match &settings.identity {
                None => Own::None,
                Some(OwnCertificate::Files(files)) => Own::Read(material::own_certificate(files)?),
                Some(OwnCertificate::Mesh) => Own::Mesh(Arc::clone(mesh)),
            },
            server_name: server_name.transpose()?,
            min_remaining: settings.min_remaining,
        })
    }

    /// The same without Server Name Indication, whatever the name that is verified.
    #[must_use]
    pub fn without_sni(mut self) -> Self {
        self.base.enable_sni = false;
        self
    }

    /// Whether everything that a handshake needs from this side is there: `no_identity` if not.
    ///
    /// Worth asking before a connection is made for nothing.
    pub fn ready(&self) -> Result<(), Fault> {
        self.observer.current_roots()?;
        self.own.current().map(drop)
    }

    /// Whether a certificate of our own chains to the roots that this client trusts, and is valid
    /// at `now`.
    pub fn vouch(&self, own: &Credential, now: SystemTime) -> Result<(), Fault> {
        self.observer.vouch(own, now)
    }

    /// One fresh, full handshake over `stream`.
    ///
    /// `host` is verified and sent as SNI (unless it is an address) when the settings state no
    /// server name. `facts` are filled as far as it came, also when it fails or a deadline drops
    /// this future; they are `None` when the peer showed nothing.
    pub async fn handshake(
        &self,
        stream: Stream,
        host: &Host,
        facts: &mut Option<TlsFacts>,
    ) -> Result<TlsStream<Stream>, Fault> {
        *facts = None;
        let name = self.name(host)?;
        let observed = Arc::new(Observed::default());
        let mut config = self.base.clone();
        let observer = self.observer.watching(&observed)?;
        config.dangerous().set_certificate_verifier(Arc::new(observer));
        config.client_auth_cert_resolver =
            Arc::new(verify::Shown::new(self.own.current()?, Arc::clone(&observed)));
        let connector = TlsConnector::from(Arc::new(config));
        let filled = FillOnDrop { facts, observed };
        let shaken = connector.connect(name, stream).await;
        drop(filled);
        let stream = match (shaken, facts.as_ref()) {
            (Ok(stream), _) => stream,
            (Err(error), None) => return Err(io_fault(&error)),
            (Err(error), Some(facts)) => {
                let verify = self.observer.verify();
                return Err(inspect::explain(io_fault(&error), facts, verify, SystemTime::now()));
            }
        };
        describe_session(stream.get_ref().1, facts.get_or_insert_default());
        match self.accept(stream.get_ref().1) {
            Ok(()) => Ok(stream),
            Err(fault) => {
                close(stream).await;
                Err(fault)
            }
        }
    }

    /// What is demanded beyond a completed handshake.
    fn accept(&self, session: &rustls::ClientConnection) -> Result<(), Fault> {
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            return Err(Fault::new(Reason::Unclassified, "the session was resumed"));
        }
        let Some(min) = self.min_remaining else { return Ok(()) };
        let chain = session.peer_certificates().unwrap_or_default();
        inspect::check_remaining(chain, min, SystemTime::now())
    }

    fn name(&self, host: &Host) -> Result<ServerName<'static>, Fault> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        match host {
            Host::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
            Host::Name(name) => server_name(name).ok_or_else(|| {
                let detail = format!("`{name}` cannot be in a certificate: state a server name");
                Fault::new(Reason::CertNameMismatch, detail)
            }),
        }
    }
}

/// A DNS name, without the dot of the root that certificates never have, or an address.
fn server_name(text: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(text.strip_suffix('.').unwrap_or(text).to_owned()).ok()
}

/// Writes what the peer showed into the facts, however the handshake ends.
struct FillOnDrop<'a> {
    facts: &'a mut Option<TlsFacts>,
    observed: Arc<Observed>,
}

impl Drop for FillOnDrop<'_> {
    fn drop(&mut self) {
        let shown = self.observed.take_shown();
        let requested = self.observed.client_certificate_requested();
        if shown.chain.is_empty() && !requested {
            return;
        }
        let facts = self.facts.get_or_insert_default();
        facts.version = self.observed.version();
        facts.client_certificate_requested = Some(requested);
        facts.chain_sha256 = shown.sha256;
        inspect::describe(&shown.chain, facts);
    }
}

/// Writes what was agreed into `facts`.
fn describe_session(session: &rustls::ClientConnection, facts: &mut TlsFacts) {
    facts.version = session.protocol_version().and_then(version_name);
    facts.cipher = session.negotiated_cipher_suite().map(|suite| {
        let name = format!("{:?}", suite.suite());
        name.replace("TLS13_", "TLS_")
    });
    facts.group = session.negotiated_key_exchange_group().map(|group| group_name(group.name()));
    facts.alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
}

/// After a handshake in which the server asked for a client certificate: waits until it accepts
/// or rejects.
///
/// In TLS 1.3 the client believes it is done before the server has looked at its certificate, and
/// writing first can lose the alert `certificate_required` to a RST. Acceptance shows as a session
/// ticket; a server that sends none is taken as accepting after 250 ms and four round trips of
/// silence, so that the alert of a distant server is not missed.
pub async fn settle(stream: &mut TlsStream<Stream>, facts: &TlsFacts) -> Result<(), Fault> {
    let asked = facts.client_certificate_requested == Some(true);
    if !asked || stream.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(());
    }
    match timeout_at(Instant::now() + patience(stream), answer(stream)).await {
        Ok(answer) => answer,
        Err(_) => Ok(()),
    }
}

/// How long a server may take to look at what the client sent last.
fn patience(stream: &TlsStream<Stream>) -> Duration {
    let round_trip = stream.get_ref().0.stamps().tcp_facts().map(|facts| facts.rtt);
    SETTLE + round_trip.unwrap_or_default() * 4
}

/// The server's answer to our certificate: a session ticket or data, an alert, or an end.
///
/// Takes nothing from the stream: a server that speaks first, as HTTP/2 servers do with their
/// settings, is heard by the next reader.
async fn answer(stream: &mut TlsStream<Stream>) -> Result<(), Fault> {
    poll_fn(|context| {
        let ended = Pin::new(&mut *stream).poll_fill_buf(context).map_ok(<[u8]>::is_empty);
        match ended {
            Poll::Ready(Ok(false)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(true)) => {
                let detail = "closed right after the handshake";
                Poll::Ready(Err(Fault::new(Reason::Closed, detail)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(io_fault(&error))),
            Poll::Pending if stream.get_ref().1.tls13_tickets_received() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Ends a session in the orderly way (close_notify); errors do not matter any more.
pub async fn close(mut stream: TlsStream<Stream>) {
    let _ = stream.shutdown().await;
}

fn version_name(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// The IANA spelling of a group, which rustls' own differs from in places.
fn group_name(group: NamedGroup) -> String {
    match group {
        NamedGroup::X25519 => "x25519".to_owned(),
        NamedGroup::X448 => "x448".to_owned(),
        NamedGroup::secp256r1MLKEM768 => "SecP256r1MLKEM768".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The one TLS provider, aws-lc-rs, made once.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    let made = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Arc::clone(PROVIDER.get_or_init(made))
}

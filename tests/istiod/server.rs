//! A stand-in for istiod by the bare h2 crate, which does as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use meshprobe::istiod::messages::{
    ADDRESS_TYPE, Address, AddressKind, Any, CREATE_CERTIFICATE, CertificateRequest,
    CertificateResponse, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource, Workload,
};
use meshprobe::lab::ca::{Authority, Subject};
use prost::Message;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The identity that the server gives to whoever asks.
pub(crate) const SPIFFE_ID: &str = "spiffe://cluster.local/ns/monitoring/sa/meshprobe";
/// The name in its own certificate.
pub(crate) const NAME: &str = "istiod.istio-system.svc";

const MEBIBYTE: usize = 1024 * 1024;

/// What the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    Good,
    /// Accepts TCP and says nothing.
    NoHandshake,
    /// Accepts TCP and sends what is no TLS.
    GarbageForTls,
    /// Ends the handshake without a word about HTTP/2.
    NoAlpn,
    /// Ends the handshake and says nothing.
    NoSettings,
    /// Ends the handshake and sends what is no HTTP/2.
    GarbageForSettings,
    /// Ends the handshake and the connection.
    Hangup,
    /// Sends settings and answers no call.
    NoAnswer,
    /// Answers calls with what is no protobuf.
    GarbageForAnswers,
    /// Answers calls with no message at all.
    NoMessage,
    /// Resets every stream.
    ResetStreams,
    /// Ends the connection at the first call.
    HangupOnCall,
    /// Refuses every call, and quotes the token.
    Unauthenticated,
    /// Answers every call with HTTP status 503.
    Unavailable,
    /// Sends a message of 100 MiB.
    Huge,
    /// Sends a message without ever ending it.
    Endless,
    /// A subscription is answered, and a signing request refused.
    NoSigning,
    /// Signs with a root that nobody trusts.
    WrongRoot,
    /// Signs for somebody else.
    OtherIdentity,
    /// Signs a certificate whose time is over.
    Expired,
    /// Signs another key than the one it was asked to.
    OtherKey,
    /// Sends thousands of intermediates.
    EndlessChain,
    /// Sends no certificate.
    EmptyChain,
    /// Sends text that is no certificate.
    GarbageChain,
}

/// What the server saw.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) connections: u32,
    pub(crate) csrs: u32,
    pub(crate) signed: u32,
    pub(crate) authorizations: Vec<String>,
    pub(crate) clusters: Vec<String>,
    pub(crate) subscriptions: Vec<DeltaDiscoveryRequest>,
    pub(crate) acknowledgements: Vec<DeltaDiscoveryRequest>,
    pub(crate) bytes_sent: usize,
}

struct State {
    conduct: Mutex<Conduct>,
    workload: Mutex<Option<Workload>>,
    authority: Mutex<Arc<Authority>>,
    lifetime: Mutex<Duration>,
    seen: watch::Sender<Seen>,
}

/// A server that runs until the test's runtime ends.
pub(crate) struct Istiod {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

impl Istiod {
    /// A good one, whose own certificate and whose signatures are by `authority`.
    pub(crate) async fn start(authority: &Arc<Authority>) -> Self {
        let subject = Subject { names: vec![NAME.to_owned()], ..Subject::workload(SPIFFE_ID) };
        let issued = authority.issue(&subject).expect("issued");
        let chain = certificates(&issued.chain_pem);
        Self::showing(authority, chain, issued.key.serialized_der()).await
    }

    /// A good one that shows `chain` of its own, whatever it is.
    pub(crate) async fn showing(
        authority: &Arc<Authority>,
        chain: Vec<CertificateDer<'static>>,
        pkcs8: &[u8],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            conduct: Mutex::new(Conduct::Good),
            workload: Mutex::default(),
            authority: Mutex::new(Arc::clone(authority)),
            lifetime: Mutex::new(Duration::from_secs(86_400)),
            seen: watch::Sender::default(),
        });
        tokio::spawn(accept(listener, tls(chain, pkcs8), Arc::clone(&state)));
        Self { address, state }
    }

    pub(crate) fn conduct(&self, conduct: Conduct) {
        *lock(&self.state.conduct) = conduct;
    }

    /// Signs by `authority` from now on; its own certificate stays.
    pub(crate) fn sign_by(&self, authority: &Arc<Authority>) {
        *lock(&self.state.authority) = Arc::clone(authority);
    }

    /// Signs for `lifetime` from now on.
    pub(crate) fn sign_for(&self, lifetime: Duration) {
        *lock(&self.state.lifetime) = lifetime;
    }

    /// Knows `workload` and no other.
    pub(crate) fn knows(&self, workload: Option<Workload>) {
        *lock(&self.state.workload) = workload;
    }

    pub(crate) fn seen(&self) -> Seen {
        self.state.seen.borrow().clone()
    }

    /// Waits until what was seen is as `wanted`.
    pub(crate) async fn until(&self, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.state.seen.subscribe();
        let waiting = seen.wait_for(wanted);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let reached = tokio::time::timeout_at(deadline, waiting).await;
        reached.expect("seen in time").expect("the server lives").clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while held")
}

pub(crate) fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(|der| der.expect("good PEM")).collect()
}

fn tls(chain: Vec<CertificateDer<'static>>, pkcs8: &[u8]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(pkcs8.to_vec()).into();
    let key = provider.key_provider.load_private_key(key).expect("a good key");
    let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn accept(listener: TcpListener, mut config: ServerConfig, state: Arc<State>) {
    let good = TlsAcceptor::from(Arc::new(config.clone()));
    config.alpn_protocols.clear();
    let silent = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        state.seen.send_modify(|seen| seen.connections += 1);
        let acceptor = if *lock(&state.conduct) == Conduct::NoAlpn { &silent } else { &good };
        tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&state)));
    }
}

async fn serve(mut stream: TcpStream, acceptor: TlsAcceptor, state: Arc<State>) {
    let conduct = *lock(&state.conduct);
    match conduct {
        Conduct::NoHandshake => return std::future::pending().await,
        Conduct::GarbageForTls => {
            let _ = stream.write_all(b"220 mail.example ESMTP, and nothing else\r\n").await;
            return std::future::pending().await;
        }
        _ => {}
    }
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    match conduct {
        Conduct::NoSettings => return std::future::pending().await,
        Conduct::Hangup => {
            let _ = stream.shutdown().await;
            return;
        }
        Conduct::GarbageForSettings => {
            let _ = stream.write_all(&[0xfe; 4096]).await;
            return std::future::pending().await;
        }
        _ => {}
    }
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        if conduct == Conduct::HangupOnCall {
            return;
        }
        tokio::spawn(answer(request, respond, conduct, Arc::clone(&state)));
    }
}

/// One gRPC message of a request; `None` at its end.
async fn message<M: Message + Default>(
    body: &mut h2::RecvStream,
    buffer: &mut BytesMut,
) -> Option<M> {
    loop {
        if buffer.len() >= 5 {
            let length = u32::from_be_bytes(buffer[1..5].try_into().expect("four")) as usize;
            if buffer.len() >= 5 + length {
                buffer.advance(5);
                return Some(M::decode(buffer.split_to(length)).expect("protobuf"));
            }
        }
        let data = body.data().await?.ok()?;
        let _ = body.flow_control().release_capacity(data.len());
        buffer.extend_from_slice(&data);
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("short"));
    message.encode(&mut bytes).expect("room");
    bytes.freeze()
}

type Respond = h2::server::SendResponse<Bytes>;

fn head(status: u16) -> Response<()> {
    let response = Response::builder().status(status).header("content-type", "application/grpc");
    response.body(()).expect("a response")
}

fn refuse(mut respond: Respond, code: &str, message: &str) {
    let mut response = head(200);
    response.headers_mut().insert("grpc-status", HeaderValue::from_str(code).expect("ASCII"));
    response.headers_mut().insert("grpc-message", HeaderValue::from_str(message).expect("ASCII"));
    let _ = respond.send_response(response, true);
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: Respond,
    conduct: Conduct,
    state: Arc<State>,
) {
    let text = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (authorization, cluster) = (text("authorization"), text("clusterid"));
    let signing = request.uri().path() == CREATE_CERTIFICATE;
    state.seen.send_modify(|seen| {
        seen.authorizations.push(authorization.clone());
        seen.clusters.push(cluster);
        seen.csrs += u32::from(signing);
    });
    match conduct {
        Conduct::NoAnswer => return std::future::pending().await,
        Conduct::ResetStreams => return respond.send_reset(h2::Reason::INTERNAL_ERROR),
        Conduct::Unauthenticated => {
            let message = format!("request authenticate failure: {authorization}");
            return refuse(respond, "16", &message);
        }
        Conduct::NoSigning if signing => return refuse(respond, "14", "the CA is not ready"),
        Conduct::Unavailable => {
            let _ = respond.send_response(head(503), true);
            return;
        }
        Conduct::NoMessage => return refuse(respond, "0", ""),
        Conduct::GarbageForAnswers => {
            let garbage = Bytes::from_static(&[0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]);
            return last(&mut respond, garbage);
        }
        Conduct::Huge => return flood(respond, 100 * MEBIBYTE, 100 * MEBIBYTE, &state).await,
        Conduct::Endless => return flood(respond, 4 * MEBIBYTE, 0, &state).await,
        _ => {}
    }
    let body = request.into_body();
    if signing {
        sign(body, respond, conduct, &state).await
    } else {
        discover(body, respond, &state).await
    }
}

/// Sends the only message, and trailers.
fn last(respond: &mut Respond, message: Bytes) {
    let Ok(mut stream) = respond.send_response(head(200), false) else { return };
    let _ = stream.send_data(message, false);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let _ = stream.send_trailers(trailers);
}

/// Announces a message of `announced` bytes and sends `sent` of them, as far as it is let.
async fn flood(mut respond: Respond, announced: usize, sent: usize, state: &State) {
    let Ok(mut stream) = respond.send_response(head(200), false) else { return };
    let mut first = BytesMut::new();
    first.put_u8(0);
    first.put_u32(u32::try_from(announced).expect("below 4 GiB"));
    let _ = stream.send_data(first.freeze(), false);
    let mut left = sent;
    while left > 0 {
        stream.reserve_capacity(left.min(16 * 1024));
        let Some(Ok(room)) = std::future::poll_fn(|context| stream.poll_capacity(context)).await
        else {
            return;
        };
        if stream.send_data(Bytes::from(vec![0; room]), false).is_err() {
            return;
        }
        left -= room;
        state.seen.send_modify(|seen| seen.bytes_sent += room);
    }
    std::future::pending().await
}

async fn sign(mut body: h2::RecvStream, mut respond: Respond, conduct: Conduct, state: &State) {
    let request: Option<CertificateRequest> = message(&mut body, &mut BytesMut::new()).await;
    let Some(request) = request else { return };
    let authority = Arc::clone(&lock(&state.authority));
    let lifetime = lock(&state.lifetime).as_secs();
    let mut subject = Subject {
        ends_in: i64::try_from(lifetime).expect("short"),
        ..Subject::workload(SPIFFE_ID)
    };
    let stranger = Authority::new("stranger").expect("an authority");
    let mut chain = match conduct {
        Conduct::WrongRoot => vec![stranger.sign(&request.csr, &subject).expect("signed")],
        Conduct::OtherKey => vec![authority.issue(&subject).expect("issued").chain_pem],
        Conduct::GarbageChain => vec!["-----BEGIN CERTIFICATE-----\n!!!".to_owned()],
        Conduct::EmptyChain => Vec::new(),
        _ => {
            if conduct == Conduct::OtherIdentity {
                subject.spiffe_id = Some("spiffe://cluster.local/ns/default/sa/thief".to_owned());
            }
            if conduct == Conduct::Expired {
                subject.ends_in = -3600;
            }
            vec![authority.sign(&request.csr, &subject).expect("signed")]
        }
    };
    if conduct == Conduct::EndlessChain {
        chain.extend(std::iter::repeat_n(authority.root_pem().to_owned(), 5000));
    }
    if !chain.is_empty() {
        chain.push(format!("{}{}", authority.root_pem(), stranger.root_pem()));
    }
    last(&mut respond, framed(&CertificateResponse { cert_chain: chain }));
    state.seen.send_modify(|seen| seen.signed += 1);
}

async fn discover(mut body: h2::RecvStream, mut respond: Respond, state: &State) {
    let mut buffer = BytesMut::new();
    let request: Option<DeltaDiscoveryRequest> = message(&mut body, &mut buffer).await;
    let Some(request) = request else { return };
    let names = request.resource_names_subscribe.clone();
    state.seen.send_modify(|seen| seen.subscriptions.push(request));
    let known = lock(&state.workload).clone();
    let removed_resources = if known.is_some() { Vec::new() } else { names };
    let resource = |workload| {
        let address = Address { kind: Some(AddressKind::Workload(workload)) };
        let any = Any { type_url: ADDRESS_TYPE.to_owned(), value: address.encode_to_vec() };
        Resource { resource: Some(any), ..Resource::default() }
    };
    let answer = DeltaDiscoveryResponse {
        type_url: ADDRESS_TYPE.to_owned(),
        nonce: "nonce-1".to_owned(),
        resources: known.map(resource).into_iter().collect(),
        removed_resources,
        ..DeltaDiscoveryResponse::default()
    };
    let Ok(mut stream) = respond.send_response(head(200), false) else { return };
    let _ = stream.send_data(framed(&answer), false);
    while let Some(further) = message(&mut body, &mut buffer).await {
        state.seen.send_modify(|seen| seen.acknowledgements.push(further));
    }
}

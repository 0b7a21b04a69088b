//! A world of two nodes with their stand-ins, and raw clients that say what they saw.
#![allow(dead_code, reason = "each test binary needs another part of it")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request, StatusCode, Version};
use meshprobe::failure::{Fault, Reason};
use meshprobe::lab::ca::{Authority, Issued, Subject};
use meshprobe::lab::world::{Pod, PodPort, Service, World};
use meshprobe::lab::ztunnel::{Condition, Timing, Ztunnel};
use meshprobe::net::{self, Stream};
use meshprobe::spec::{HBONE_PORT, OwnCertificate, Roots, TlsSettings, Verify};
use meshprobe::target::Host;
use meshprobe::tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

/// The real timeouts are divided by this.
pub(crate) const SCALE: f64 = 20.0;
/// Longer than every one of them then is: what is silent for so long has no end.
pub(crate) const LONG: Duration = Duration::from_secs(3);
/// Any live server has answered by then.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) const PERMISSIVE: u16 = 8080;
pub(crate) const STRICT: u16 = 8081;
pub(crate) const CLOSED: u16 = 9999;
/// The port of the Services.
pub(crate) const SERVICE: u16 = 80;

pub(crate) const SERVER_ID: &str = "spiffe://cluster.local/ns/default/sa/web";
pub(crate) const STRANGER_ID: &str = "spiffe://cluster.local/ns/ingress/sa/daemon";

/// Two nodes: `client` on the first is ambient, `web` on the second is ambient and serves, `plain`
/// serves outside the mesh.
pub(crate) struct Bench {
    pub(crate) world: Arc<World>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) here: Ztunnel,
    pub(crate) there: Ztunnel,
    pub(crate) timing: Timing,
    net: Net,
}

/// Addresses of 127/8 that no other test has.
#[derive(Clone, Copy)]
struct Net(u8, u8);

impl Net {
    fn next() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        // Another test process begins elsewhere.
        let second = 128 + (std::process::id() % 120) as u8;
        Self(second, NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn ip(self, last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.0, self.1, last))
    }
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let net = Net::next();
        let world = Arc::new(world(net, echo().await));
        let authority = Arc::new(Authority::new("mesh root").expect("a root"));
        let timing = Timing::scaled(SCALE);
        let node = async |name: &str, own| {
            let (world, authority) = (Arc::clone(&world), Arc::clone(&authority));
            Ztunnel::start(name, net.ip(own), world, authority, timing).await.expect("free ports")
        };
        let (here, there) = (node("node-1", 101).await, node("node-2", 102).await);
        let bench = Self { world, authority, here, there, timing, net };
        for to in Captured::ALL {
            let (destination, alias) = bench.capture(to);
            let client = bench.pod("client").ip;
            bench.here.capture(client, destination, alias).await.expect("a free alias");
        }
        bench
    }

    pub(crate) fn pod(&self, name: &str) -> &Pod {
        self.world.pods.iter().find(|pod| pod.name == name).expect("in the world")
    }

    /// The port of `web`, as dialled from a plain pod.
    pub(crate) fn plain(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.pod("web").ip, port)
    }

    /// `to`, as dialled in the ambient pod `client`.
    pub(crate) fn ambient(&self, to: Captured) -> SocketAddr {
        let (destination, alias) = self.capture(to);
        SocketAddr::new(alias, destination.port())
    }

    pub(crate) fn hbone(&self) -> SocketAddr {
        self.plain(HBONE_PORT)
    }

    /// The own address of the second node's ztunnel.
    pub(crate) fn own(&self) -> IpAddr {
        self.net.ip(102)
    }

    pub(crate) async fn break_there(&self, condition: Condition) {
        self.there.set(condition);
        self.there.settled().await;
    }

    pub(crate) async fn break_here(&self, condition: Condition) {
        self.here.set(condition);
        self.here.settled().await;
    }

    /// A certificate of the mesh's authority.
    pub(crate) fn issue(&self, id: &str) -> Issued {
        self.authority.issue(&Subject::workload(id)).expect("issued")
    }

    fn capture(&self, to: Captured) -> (SocketAddr, IpAddr) {
        let destination = match to {
            Captured::Permissive => self.plain(PERMISSIVE),
            Captured::Strict => self.plain(STRICT),
            Captured::Closed => self.plain(CLOSED),
            Captured::RawHbone => self.hbone(),
            Captured::Plain => self.pod("plain").ports[0].application.expect("it serves"),
            Captured::Service => SocketAddr::new(self.net.ip(201), SERVICE),
            Captured::StrictService => SocketAddr::new(self.net.ip(202), SERVICE),
            Captured::EmptyService => SocketAddr::new(self.net.ip(203), SERVICE),
            Captured::Nobody => SocketAddr::from(([192, 0, 2, 53], SERVICE)),
        };
        (destination, self.net.ip(50 + to as u8))
    }
}

/// What `client` dials.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Captured {
    Permissive,
    Strict,
    Closed,
    RawHbone,
    Plain,
    Service,
    StrictService,
    EmptyService,
    /// An address where nobody is.
    Nobody,
}

impl Captured {
    const ALL: [Self; 9] = [
        Self::Permissive,
        Self::Strict,
        Self::Closed,
        Self::RawHbone,
        Self::Plain,
        Self::Service,
        Self::StrictService,
        Self::EmptyService,
        Self::Nobody,
    ];
}

fn world(net: Net, application: SocketAddr) -> World {
    let pod = |name: &str, namespace: &str, node: &str, last, ambient| Pod {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        service_account: name.to_owned(),
        node: node.to_owned(),
        ip: net.ip(last),
        ambient,
        ports: Vec::new(),
    };
    let mut web = pod("web", "default", "node-2", 12, true);
    let port = |number, strict, application| PodPort { number, strict, application };
    web.ports = vec![
        port(PERMISSIVE, false, Some(application)),
        port(STRICT, true, Some(application)),
        port(CLOSED, false, None),
    ];
    let mut plain = pod("plain", "ingress", "node-2", 22, false);
    plain.ip = application.ip();
    plain.ports = vec![port(application.port(), false, Some(application))];
    let service = |name: &str, last, target, endpoints: &[&str]| Service {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        ip: net.ip(last),
        ports: vec![(SERVICE, target)],
        endpoints: endpoints.iter().map(|name| (*name).to_owned()).collect(),
    };
    World {
        nodes: vec!["node-1".to_owned(), "node-2".to_owned()],
        pods: vec![pod("client", "default", "node-1", 11, true), web, plain],
        services: vec![
            service("web", 201, PERMISSIVE, &["web"]),
            service("strict", 202, STRICT, &["web"]),
            service("empty", 203, PERMISSIVE, &[]),
        ],
    }
}

/// A server that gives back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// What a client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Reply,
    Refused,
    /// Accepted, then FIN without a byte.
    Closed,
    /// Accepted, then RST without a byte.
    Reset,
    /// Accepted, then nothing for longer than any timeout.
    Silence,
    /// Not even accepted for so long.
    NoAnswer,
    Other(Reason),
}

impl Seen {
    /// Accepted, then ended without a byte: STRICT, a closed port, a dead peer.
    #[track_caller]
    pub(crate) fn assert_denied(&self) {
        assert!(matches!(self, Self::Closed | Self::Reset), "{self:?}");
    }
}

/// Sends a few bytes and waits for them to come back.
pub(crate) async fn ask(address: SocketAddr) -> Seen {
    ask_with(address, b"ping\n").await
}

/// The same, with bytes of one's own; without any, waits for what comes.
pub(crate) async fn ask_with(address: SocketAddr, bytes: &[u8]) -> Seen {
    match open(address).await {
        Ok(mut held) => held.ask(bytes).await,
        Err(seen) => seen,
    }
}

/// A connection that stays open.
pub(crate) struct Held(Stream);

pub(crate) async fn open(address: SocketAddr) -> Result<Held, Seen> {
    match timeout_at(Instant::now() + LONG, net::connect(address)).await {
        Ok(Ok(stream)) => Ok(Held(stream)),
        Ok(Err(fault)) => Err(seen(&fault)),
        Err(_) => Err(Seen::NoAnswer),
    }
}

impl Held {
    pub(crate) async fn ask(&mut self, bytes: &[u8]) -> Seen {
        let exchange = async {
            let told = |error: std::io::Error| seen(&net::io_fault(&error));
            if !bytes.is_empty() {
                self.0.write_all(bytes).await.map_err(told)?;
            }
            let mut back = vec![0; bytes.len().max(1)];
            self.0.read_exact(&mut back).await.map_err(told)?;
            assert_eq!(back, bytes);
            Ok(())
        };
        match timeout_at(Instant::now() + LONG, exchange).await {
            Ok(Ok(())) => Seen::Reply,
            Ok(Err(seen)) => seen,
            Err(_) => Seen::Silence,
        }
    }
}

fn seen(fault: &Fault) -> Seen {
    match fault.reason {
        Reason::Refused => Seen::Refused,
        Reason::Reset => Seen::Reset,
        Reason::Closed => Seen::Closed,
        other => Seen::Other(other),
    }
}

/// TLS to port 15008 as the prober makes it: with the certificate of `id`, verifying `peer`.
pub(crate) async fn shake(
    bench: &Bench,
    issued: Option<&Issued>,
    peer: Verify,
) -> Result<TlsStream<Stream>, Fault> {
    let mesh = Arc::new(tls::Mesh::default());
    mesh.trust(bench.authority.root_pem().as_bytes()).expect("a root");
    if let Some(issued) = issued {
        let key = issued.key.serialize_der();
        mesh.carry(tls::Credential::new(issued.chain_pem.as_bytes(), &key).expect("a pair"));
    }
    let settings = TlsSettings {
        roots: Roots::Mesh,
        verify: peer,
        identity: issued.map(|_| OwnCertificate::Mesh),
        ..TlsSettings::default()
    };
    let client = tls::Client::load(&settings, &["h2"], &mesh).expect("good settings");
    let stream = net::connect(bench.hbone()).await?;
    let host = Host::Ip(bench.hbone().ip());
    let mut facts = None;
    timeout_at(Instant::now() + LONG, client.handshake(stream, &host, &mut facts))
        .await
        .unwrap_or_else(|_| Err(Fault::new(Reason::Timeout, "no handshake")))
}

/// An HBONE connection of a plain pod with a mesh certificate.
pub(crate) async fn tunnel(bench: &Bench) -> SendRequest<Bytes> {
    let issued = bench.issue(STRANGER_ID);
    let peer = Verify::Spiffe(SERVER_ID.to_owned());
    let stream = shake(bench, Some(&issued), peer).await.expect("a handshake");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender
}

/// The status of a CONNECT to `authority`; with 200, bytes have gone there and back.
pub(crate) async fn connect(bench: &Bench, authority: &str) -> StatusCode {
    let sender = tunnel(bench).await;
    connect_over(&sender, authority).await.expect("an answer")
}

pub(crate) async fn connect_over(
    sender: &SendRequest<Bytes>,
    authority: &str,
) -> Result<StatusCode, h2::Error> {
    let request = Request::builder().method(Method::CONNECT).version(Version::HTTP_2);
    let request = request.uri(authority).body(()).expect("a request");
    let (response, mut outgoing) = sender.clone().ready().await?.send_request(request, false)?;
    let response = response.await?;
    if response.status() == StatusCode::OK {
        outgoing.send_data(Bytes::from_static(b"ping"), true)?;
        let mut back = Vec::new();
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            back.extend_from_slice(&data?);
        }
        assert_eq!(back, b"ping");
        return Ok(StatusCode::OK);
    }
    Ok(response.status())
}

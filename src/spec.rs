//! What one target is asked, fully stated and checked: plain data between configuration and
//! probes.
//!
//! A [`Module`] is a question without an address (as in `blackbox_exporter`); aimed at an address
//! it becomes a [`ProbeSpec`]. Reads no files and opens no sockets.

mod dns;
mod http_url;
mod mesh;
mod tls;

pub use dns::{DnsModule, Qtype, Search, Transport, dns_name};
pub use http_url::HttpUrl;
pub use mesh::{
    CaptureModule, ExpectedWorkload, HBONE_PORT, HboneModule, IstiodModule, MtuModule, PodIdentity,
    ZTUNNEL_METRICS_PORT, ZTUNNEL_READINESS_PORT, ZtunnelModule,
};
pub use tls::{ClientIdentity, OwnCertificate, Roots, TlsModule, TlsSettings, TlsVersion, Verify};

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use regex::bytes::Regex;

use crate::expectation::Expectation;
use crate::failure::Phase;
use crate::schedule::Cadence;
use crate::target::{Endpoint, Host, InvalidEndpoint, ProbeKind, SubjectName, TargetName, Via};

/// A target of a configuration: what to ask, of whom, how often.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetSpec {
    /// Unique within the configuration.
    pub name: TargetName,
    /// What to ask.
    pub probe: ProbeSpec,
    /// How often.
    pub cadence: Cadence,
    /// Attempts that may be under way at once; a slot beyond it is missed, and counted.
    pub max_in_flight: u32,
    /// Through what the target is addressed, when stated.
    pub via: Option<Via>,
    /// What observations are of, when it is not the name.
    pub subject: Option<SubjectName>,
    /// Node of the far end, when stated.
    pub destination_node: Option<String>,
    /// The target that serves as positive control of a denial: asked right after it.
    pub control: Option<TargetName>,
}

/// A question with the address it goes to.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeSpec {
    /// What is asked of whom.
    pub ask: Ask,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// What must come back.
    pub expect: Expectation,
}

impl ProbeSpec {
    /// The kind of probe.
    pub fn kind(&self) -> ProbeKind {
        match self.ask {
            Ask::Dns { .. } => ProbeKind::Dns,
            Ask::Tcp { .. } => ProbeKind::Tcp,
            Ask::Tls { .. } => ProbeKind::Tls,
            Ask::Http { .. } => ProbeKind::Http,
            Ask::Hold { .. } => ProbeKind::Hold,
            Ask::Hbone { .. } => ProbeKind::Hbone,
            Ask::Istiod { .. } => ProbeKind::Istiod,
            Ask::Capture { .. } => ProbeKind::Capture,
            Ask::Mtu { .. } => ProbeKind::Mtu,
            Ask::Ztunnel { .. } => ProbeKind::Ztunnel,
        }
    }
}

/// A kind of question and its address.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// One DNS question.
    Dns {
        /// How to ask.
        module: DnsModule,
        /// The name in question.
        name: String,
        /// Whom to ask; `None` is the first nameserver of resolv.conf.
        server: Option<Endpoint>,
    },
    /// A TCP connection.
    Tcp {
        /// How to ask.
        module: TcpModule,
        /// Where.
        endpoint: Endpoint,
    },
    /// A TLS handshake.
    Tls {
        /// How to ask.
        module: TlsModule,
        /// Where.
        endpoint: Endpoint,
    },
    /// One HTTP request.
    Http {
        /// How to ask.
        module: HttpModule,
        /// What.
        url: HttpUrl,
    },
    /// A held connection.
    Hold {
        /// How to hold.
        module: HoldModule,
        /// What each heartbeat requests.
        url: HttpUrl,
    },
    /// An HBONE peer.
    Hbone {
        /// How to speak.
        module: HboneModule,
        /// Who terminates the tunnel.
        peer: Endpoint,
        /// What is requested through it; `None` without a certificate.
        url: Option<HttpUrl>,
    },
    /// The ladder to istiod.
    Istiod {
        /// How to climb.
        module: IstiodModule,
        /// Where it stands.
        endpoint: Endpoint,
    },
    /// Capture of this pod.
    Capture {
        /// How to find out.
        module: CaptureModule,
        /// A mesh service's name, which ztunnel answers by itself.
        name: String,
    },
    /// Bodies of two sizes.
    Mtu {
        /// Which sizes.
        module: MtuModule,
        /// What echoes them.
        url: HttpUrl,
    },
    /// A ztunnel's own word.
    Ztunnel {
        /// What to read.
        module: ZtunnelModule,
        /// The ztunnel pod.
        host: Host,
    },
}

/// A question without an address.
#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    /// The question.
    pub kind: ModuleKind,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// What must come back.
    pub expect: Expectation,
}

/// A kind of question without an address.
#[derive(Debug, Clone, PartialEq)]
pub enum ModuleKind {
    /// One DNS question.
    Dns(DnsModule),
    /// A TCP connection.
    Tcp(TcpModule),
    /// A TLS handshake.
    Tls(TlsModule),
    /// One HTTP request.
    Http(HttpModule),
    /// A held connection.
    Hold(HoldModule),
    /// An HBONE peer.
    Hbone(Box<HboneModule>),
    /// The ladder to istiod.
    Istiod(Box<IstiodModule>),
    /// Capture of this pod.
    Capture(CaptureModule),
    /// Bodies of two sizes.
    Mtu(MtuModule),
    /// A ztunnel's own word.
    Ztunnel(ZtunnelModule),
}

impl Module {
    /// Aims the module at `address`.
    ///
    /// `address` is `host:port` for tcp and tls; a URL, or `host[:port][/path]` taken as `http://`,
    /// for http, hold, mtu and hbone with a certificate; `host[:port]` for istiod, ztunnel and
    /// hbone without one; a name for capture. For dns it is the server (port 53 by default) when the module has a
    /// `name` of its own, and the name in question otherwise.
    pub fn aim(&self, address: &str) -> Result<ProbeSpec, InvalidAddress> {
        let ask = match self.kind.clone() {
            ModuleKind::Dns(module) => match &module.name {
                Some(_) if module.server.is_some() => return Err(InvalidAddress::AlreadyAimed),
                Some(name) => Ask::Dns {
                    name: name.clone(),
                    server: Some(Endpoint::with_default_port(address, 53)?),
                    module,
                },
                None => {
                    Ask::Dns { name: dns_name(address)?, server: module.server.clone(), module }
                }
            },
            ModuleKind::Tcp(module) => Ask::Tcp { module, endpoint: address.parse()? },
            ModuleKind::Tls(module) => {
                Ask::Tls { module, endpoint: Endpoint::with_default_port(address, 443)? }
            }
            ModuleKind::Http(module) => Ask::Http { module, url: HttpUrl::parse(address)? },
            ModuleKind::Hold(module) => Ask::Hold { module, url: HttpUrl::parse(address)? },
            ModuleKind::Hbone(module) => aim_hbone(*module, address)?,
            ModuleKind::Istiod(module) => Ask::Istiod {
                module: *module,
                endpoint: Endpoint::with_default_port(address, 15012)?,
            },
            ModuleKind::Capture(module) => Ask::Capture { module, name: dns_name(address)? },
            ModuleKind::Mtu(module) => Ask::Mtu { module, url: HttpUrl::parse(address)? },
            ModuleKind::Ztunnel(module) => {
                // Any port will do: the module has its own.
                Ask::Ztunnel { module, host: Endpoint::with_default_port(address, 1)?.host }
            }
        };
        Ok(ProbeSpec { ask, timeouts: self.timeouts, expect: self.expect.clone() })
    }
}

/// Without a certificate the address is the peer, port 15008 by default. With one it is the URL
/// requested through the tunnel, whose host is the peer unless the module names another.
fn aim_hbone(module: HboneModule, address: &str) -> Result<Ask, InvalidAddress> {
    if !module.credentialed {
        let peer = Endpoint::with_default_port(address, HBONE_PORT)?;
        return Ok(Ask::Hbone { module, peer, url: None });
    }
    let url = HttpUrl::parse(address)?;
    if url.is_https() {
        return Err(InvalidAddress::PlainUrl);
    }
    let host = url.endpoint().host;
    let peer = module.peer.clone().unwrap_or(Endpoint { host, port: HBONE_PORT });
    Ok(Ask::Hbone { module, peer, url: Some(url) })
}

/// An address that a module cannot be aimed at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// No `host:port`.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// No `http://` or `https://` URL.
    #[error(
        "must be an http:// or https:// URL of at most 8192 characters, with a host and without \
         user information"
    )]
    Url,
    /// An https:// URL where TLS is the tunnel's own.
    #[error("must be an http:// URL: the tunnel is what is encrypted")]
    PlainUrl,
    /// No name that DNS can ask for.
    #[error("must be a DNS name: labels of 1 to 63 characters, 253 in all")]
    DnsName,
    /// The dns module has a name and a server already.
    #[error("the dns module states both name and server: leave one of them out")]
    AlreadyAimed,
}

/// How long an attempt and each of its phases may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Of the whole attempt.
    pub total: Duration,
    /// Of each phase, by [`Phase`]; `None` leaves it to `total`.
    pub phases: [Option<Duration>; Phase::ALL.len()],
}

impl Timeouts {
    /// Only a bound on the whole.
    pub fn total(total: Duration) -> Self {
        Self { total, phases: [None; Phase::ALL.len()] }
    }

    /// The bound on `phase` alone, if it has one.
    pub fn of(&self, phase: Phase) -> Option<Duration> {
        self.phases[phase as usize]
    }
}

/// Which address family a name is resolved to, and where connections come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpPreference {
    /// The family asked for first.
    pub family: IpFamily,
    /// Whether the other family may serve when the first has no address. Connect errors never
    /// fall back: which address failed is the point.
    pub fallback: bool,
    /// The own address that connections of HTTP and TCP are made from; the kernel's choice when
    /// not stated. For one machine that stands in for several pods.
    pub source: Option<IpAddr>,
}

impl Default for IpPreference {
    fn default() -> Self {
        Self { family: IpFamily::V4, fallback: true, source: None }
    }
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// How a TCP connection is used.
#[derive(Debug, Clone)]
pub struct TcpModule {
    /// Sent after the connect.
    pub send: Option<Vec<u8>>,
    /// What the reply must match; without it, any byte is a reply.
    pub reply_regex: Option<Regex>,
    /// Which address of a name.
    pub ip: IpPreference,
}

impl PartialEq for TcpModule {
    fn eq(&self, other: &Self) -> bool {
        self.send == other.send
            && same_regex(&self.reply_regex, &other.reply_regex)
            && self.ip == other.ip
    }
}

/// How an HTTP request is made.
#[derive(Debug, Clone)]
pub struct HttpModule {
    /// Request method.
    pub method: Method,
    /// Headers beyond Host, User-Agent and what the body needs; they replace ours.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Request body.
    pub body: Option<Vec<u8>>,
    /// Protocol version.
    pub version: HttpVersion,
    /// What the (decompressed) body must match.
    pub body_regex: Option<Regex>,
    /// Largest body, as sent and decompressed, in bytes.
    pub body_limit: u64,
    /// Redirects that are followed; 0 takes the first response as it is.
    pub redirects: u8,
    /// Whether `Accept-Encoding: gzip, deflate` is offered and undone.
    pub decompress: bool,
    /// Whether the connection is kept for the next attempt, which is then warm.
    pub keepalive: bool,
    /// For https.
    pub tls: TlsSettings,
    /// Which address of a name.
    pub ip: IpPreference,
}

impl PartialEq for HttpModule {
    fn eq(&self, other: &Self) -> bool {
        self.method == other.method
            && self.headers == other.headers
            && self.body == other.body
            && self.version == other.version
            && same_regex(&self.body_regex, &other.body_regex)
            && self.body_limit == other.body_limit
            && self.redirects == other.redirects
            && self.decompress == other.decompress
            && self.keepalive == other.keepalive
            && self.tls == other.tls
            && self.ip == other.ip
    }
}

/// The HTTP version of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// https: what ALPN gives, h2 preferred. http: HTTP/1.1.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN on https, with prior knowledge (h2c) on http.
    Http2,
}

/// How a connection is held: HTTP/1.1 requests on one connection, one per heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldModule {
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// How long the connection must live; then the attempt has succeeded.
    pub hold: Duration,
    /// For https.
    pub tls: TlsSettings,
    /// Which address of a name.
    pub ip: IpPreference,
}

fn same_regex(left: &Option<Regex>, right: &Option<Regex>) -> bool {
    left.as_ref().map(Regex::as_str) == right.as_ref().map(Regex::as_str)
}

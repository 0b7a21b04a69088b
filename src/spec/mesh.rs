//! Questions that know the mesh: HBONE, istiod, capture, MTU, ztunnel.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::spec::{HttpModule, IpPreference, TlsSettings};
use crate::target::Endpoint;

/// The port of HBONE in every ambient pod (Istio).
pub const HBONE_PORT: u16 = 15008;
/// ztunnel's readiness port.
pub const ZTUNNEL_READINESS_PORT: u16 = 15021;
/// ztunnel's metrics port.
pub const ZTUNNEL_METRICS_PORT: u16 = 15020;

/// How HBONE is spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct HboneModule {
    /// With a mesh certificate: CONNECT and a request through the tunnel. Without: the peer's
    /// chain, and its alert `certificate_required`.
    pub credentialed: bool,
    /// Trust, the peer's SPIFFE ID, own certificate, remaining lifetime. TLS 1.3, ALPN `h2` and no
    /// SNI are HBONE's own and not stated here.
    pub tls: TlsSettings,
    /// Who terminates the tunnel when that is not port 15008 of the URL's host: a waypoint, or the
    /// pod behind a hostname that CONNECT names.
    pub peer: Option<Endpoint>,
    /// The request through the tunnel; its own `keepalive` and `tls` are not used.
    pub request: HttpModule,
    /// Whether the tunnel's connection is kept for the next attempt, which is then warm.
    pub warm: bool,
    /// Which address of the peer's name.
    pub ip: IpPreference,
}

/// How the ladder to istiod is climbed.
#[derive(Debug, Clone, PartialEq)]
pub struct IstiodModule {
    /// Trust, server name, remaining lifetime; ALPN `h2` is gRPC's own.
    pub tls: TlsSettings,
    /// The projected service account token (audience istio-ca), read for each attempt.
    pub token: PathBuf,
    /// gRPC metadata `clusterid`.
    pub cluster_id: String,
    /// Trust domain of the identity that istiod must sign for.
    pub trust_domain: String,
    /// Who asks; without it the ladder ends at `http2`.
    pub pod: Option<PodIdentity>,
    /// Whether xDS is asked.
    pub xds: bool,
    /// What istiod must say of the own workload.
    pub workload: ExpectedWorkload,
    /// Whether certificates are asked for, and how seldom: once in this time.
    pub csr: Option<Duration>,
    /// Which address of a name.
    pub ip: IpPreference,
}

/// What must be true of the own workload in istiod's answer; what is `None` may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedWorkload {
    /// Whether it is reached by HBONE.
    pub hbone: Option<bool>,
    /// Its node.
    pub node: Option<String>,
}

/// A pod as Kubernetes and istiod know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// Pod name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
    /// Pod address.
    pub ip: IpAddr,
    /// Istio network; empty in a mesh of one network.
    pub network: String,
}

/// How capture is found out.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureModule {
    /// What the enrolment of this pod says.
    pub enrolled: bool,
    /// An address where no DNS server is: an answer from there proves capture.
    pub dns_server: Endpoint,
    /// An address where no host is: a connection there, accepted or refused, proves capture.
    pub decoy: Endpoint,
    /// ztunnel's HBONE socket in this pod's own namespace.
    pub hbone: Option<Endpoint>,
}

/// How large bodies are sent both ways.
#[derive(Debug, Clone, PartialEq)]
pub struct MtuModule {
    /// Body that fits into one segment, bytes.
    pub small: u32,
    /// Body of several segments, bytes.
    pub large: u32,
    /// For https.
    pub tls: TlsSettings,
    /// Which address of a name.
    pub ip: IpPreference,
}

/// What of a ztunnel is read.
#[derive(Debug, Clone, PartialEq)]
pub struct ZtunnelModule {
    /// Port of `/healthz/ready`.
    pub readiness_port: u16,
    /// Port of `/stats/prometheus`; `None` reads no counters.
    pub metrics_port: Option<u16>,
    /// Which address of a name.
    pub ip: IpPreference,
}

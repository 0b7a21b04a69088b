//! Facts of the probes that know the mesh: HBONE, istiod, capture, MTU, ztunnel.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{rfc3339_option, seconds};
use crate::failure::Failure;
use crate::flow::{FlowDestination, FlowSecurity, FlowSource};

/// What an HBONE peer showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HboneFacts {
    /// What CONNECT named: `ip:port` or `hostname:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Status of the response to CONNECT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The alert that a handshake without a certificate was answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// The peer's HTTP/2 settings, as far as it sent them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Http2Settings>,
    /// Bytes that came back through the tunnel; left out when it was not opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_bytes: Option<u64>,
}

/// SETTINGS of an HTTP/2 peer (RFC 9113 section 6.5.2); what it did not send is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Http2Settings {
    /// Streams that it takes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_streams: Option<u32>,
    /// Flow-control window of a new stream, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_window_size: Option<u32>,
    /// Flow-control window of the connection, bytes: 65535 and what a WINDOW_UPDATE added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_window_size: Option<u32>,
    /// Largest frame payload, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_frame_size: Option<u32>,
    /// Largest header list, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_header_list_size: Option<u32>,
}

/// A step of the ladder to istiod; each stands on the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// The name leads to an address.
    Resolve,
    /// The port accepts.
    Tcp,
    /// The certificate is istiod's, trusted and not near its end.
    Tls,
    /// HTTP/2 settings were exchanged.
    Http2,
    /// A delta xDS subscription to the own address was answered, as stated.
    Xds,
    /// A certificate was signed.
    Csr,
}

impl Rung {
    /// Every rung, lowest first.
    pub const ALL: [Self; 6] =
        [Self::Resolve, Self::Tcp, Self::Tls, Self::Http2, Self::Xds, Self::Csr];

    /// The name in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::Xds => "xds",
            Self::Csr => "csr",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far up the ladder an attempt came.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct IstiodFacts {
    /// The rungs that were tried, lowest first; only the last can have failed.
    pub rungs: Vec<RungFacts>,
    /// The rungs that this attempt was to try; a rung that is not due (csr) or not asked for is
    /// not among them.
    #[serde(skip)]
    pub due: Vec<Rung>,
    /// The answer to the subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xds: Option<XdsFacts>,
    /// The signed certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csr: Option<CsrFacts>,
}

/// One rung that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RungFacts {
    /// Which.
    pub rung: Rung,
    /// How long it took, or until it failed.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// What broke it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What istiod answered to a subscription to the own address.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct XdsFacts {
    /// Resources in the answer.
    pub resources: u32,
    /// The workload at the own address, when istiod knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadFacts>,
}

/// A workload as istiod describes it to ztunnels.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WorkloadFacts {
    /// Pod name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
    /// Node.
    pub node: String,
    /// `HBONE`, `NONE` or `LEGACY_ISTIO_MTLS`.
    pub tunnel_protocol: String,
    /// Names of the policies attached to it, `<namespace>/<name>`.
    pub authorization_policies: Vec<String>,
}

/// A certificate that istiod signed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CsrFacts {
    /// The SPIFFE ID in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// Its end.
    #[serde(serialize_with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<SystemTime>,
    /// Roots in the bundle that came with it.
    pub roots: u32,
}

/// What of this pod's traffic is captured; what was not tried has no value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CaptureFacts {
    /// A question to an address without a server was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<bool>,
    /// A connection to an address without a host was accepted, or refused by a capture rule that
    /// leads to nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<bool>,
    /// ztunnel's HBONE socket is there in this pod's own namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hbone: Option<bool>,
}

/// Sizes that were sent both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MtuFacts {
    /// Body that fits into one segment, bytes.
    pub small_bytes: u64,
    /// Body of several segments, bytes.
    pub large_bytes: u64,
    /// Whether the small one came back.
    pub small_passed: bool,
    /// Bytes of the large one's echo that came back.
    pub large_received: u64,
}

/// What a ztunnel says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ZtunnelFacts {
    /// `/healthz/ready`. No evidence of working mTLS: it stays true without a CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// What it waits for when it is not ready, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// Where the counters came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_address: Option<SocketAddr>,
    /// `istio_tcp_connections_{opened,closed,failed}_total`, summed by the labels told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<ConnectionCounter>,
    /// `istio_xds_connection_terminations_total` by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xds_terminations: BTreeMap<String, u64>,
    /// `istio_dns_requests_total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_requests: Option<u64>,
    /// `istio_dns_upstream_failures_total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_upstream_failures: Option<u64>,
    /// Its version (label `tag` of `istio_build`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `process_start_time_seconds`, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_start_seconds: Option<f64>,
    /// Who called its pods: plaintext by source and destination, mTLS by destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<FlowCounter>,
    /// Series of flows that are not among `flows`: too many, or not the names of workloads.
    #[serde(skip_serializing_if = "UnkeptFlows::is_none")]
    pub unkept_flows: UnkeptFlows,
    /// Whether the counters were read to their end: what is not there was not counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scraped: bool,
}

/// Connections that a ztunnel counted as destination reporter since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowCounter {
    /// Who called; nobody is named where all callers are summed.
    #[serde(skip_serializing_if = "FlowSource::is_unknown")]
    pub source: FlowSource,
    /// Who was called.
    pub destination: FlowDestination,
    /// What carried it.
    pub security: FlowSecurity,
    /// `istio_tcp_connections_opened_total`: denied ones are among them.
    pub opened: u64,
    /// `istio_tcp_connections_closed_total` with `response_flags` `DENY`.
    pub denied: u64,
}

/// Series of flows that a page had and that were not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UnkeptFlows {
    /// Of plaintext.
    pub plaintext: u64,
    /// Of mTLS.
    pub mutual_tls: u64,
}

impl UnkeptFlows {
    /// Whether every series was kept.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Connections that a ztunnel counted, by what tells mTLS from plaintext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionCounter {
    /// `opened`, `closed` or `failed`.
    pub event: &'static str,
    /// `source` or `destination`.
    pub reporter: String,
    /// `mutual_tls` or `unknown`.
    pub connection_security_policy: String,
    /// `-`, `DENY`, `CONNECT`, `TLS_FAILURE`, …
    pub response_flags: String,
    /// Connections since ztunnel started.
    pub count: u64,
}

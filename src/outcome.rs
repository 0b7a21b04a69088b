//! What happened in one attempt: phases, facts, failure. Pure data.
//!
//! An [`Outcome`] does not know what was hoped for; [`crate::expectation`] judges it.

mod mesh;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::failure::{Failure, Fault, Phase};

pub use mesh::{
    CaptureFacts, ConnectionCounter, CsrFacts, FlowCounter, HboneFacts, Http2Settings, IstiodFacts,
    MtuFacts, Rung, RungFacts, UnkeptFlows, WorkloadFacts, XdsFacts, ZtunnelFacts,
};

/// How long each phase took; a phase that did not run has no value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases([Option<Duration>; Phase::ALL.len()]);

impl Phases {
    /// The duration of `phase`, if it ran (also when it is the one that failed).
    pub fn of(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    /// Adds to `phase`; a redirected request passes through its phases once per hop.
    pub fn add(&mut self, phase: Phase, duration: Duration) {
        let slot = &mut self.0[phase as usize];
        *slot = Some(slot.unwrap_or_default() + duration);
    }

    /// Replaces the duration of `phase`.
    pub fn set(&mut self, phase: Phase, duration: Duration) {
        self.0[phase as usize] = Some(duration);
    }

    /// The phases that ran, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.of(phase)?)))
    }

    /// The sum of all phases that ran.
    pub fn total(&self) -> Duration {
        self.iter().map(|(_, duration)| duration).sum()
    }
}

impl Serialize for Phases {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (phase, duration) in self.iter() {
            map.serialize_entry(&phase, &duration.as_secs_f64())?;
        }
        map.end()
    }
}

/// What was seen on the way, whether the attempt succeeded or not.
///
/// A fact that was not seen is `None` and left out of the JSON: never null, never zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts {
    /// The address that was dialled or asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<SocketAddr>,
    /// This side's address of the connection: the key into a packet capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_address: Option<SocketAddr>,
    /// Whether the request went over a connection kept from an earlier attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm: Option<bool>,
    /// The DNS reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsFacts>,
    /// What the kernel measured on the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpFacts>,
    /// The TLS handshake and the peer's chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFacts>,
    /// The HTTP response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpFacts>,
    /// The life of a held connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldFacts>,
    /// The HBONE tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hbone: Option<HboneFacts>,
    /// The ladder to istiod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub istiod: Option<IstiodFacts>,
    /// What of this pod is captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureFacts>,
    /// Sizes that passed and stalled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<MtuFacts>,
    /// Set when small bodies passed and large ones stalled.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mtu_suspect: bool,
    /// ztunnel's readiness and counters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ztunnel: Option<ZtunnelFacts>,
}

/// The reply to a DNS question.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DnsFacts {
    /// The name that was asked last, after search expansion, fully qualified.
    pub name: String,
    /// RCODE in its IANA spelling, e.g. `NOERROR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rcode: Option<String>,
    /// Record data of the answer section in presentation form, in the server's order.
    pub answers: Vec<String>,
    /// Records in the answer, authority and additional sections (without OPT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sections: Option<[u16; 3]>,
    /// The server that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
    /// `udp` or `tcp`, whichever carried the final answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<&'static str>,
    /// Set when a UDP answer was truncated and TCP was asked instead.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// AA bit. Captured answers of ztunnel's DNS proxy set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authoritative: Option<bool>,
    /// UDP datagrams and TCP messages sent; 1 unless retries, truncation or a search list.
    pub queries_sent: u32,
    /// Every name asked before the last, each with its own result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searched: Vec<SearchStep>,
    /// Datagrams that were ignored: another id or question, or no DNS message at all.
    #[serde(skip_serializing_if = "is_zero")]
    pub ignored_replies: u32,
}

/// One name of a search expansion that did not settle the question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchStep {
    /// The name asked, fully qualified.
    pub name: String,
    /// RCODE in its IANA spelling.
    pub rcode: String,
    /// Round trip of this question.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Duration,
}

/// `TCP_INFO` read just before the connection was closed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TcpFacts {
    /// Smoothed round-trip time as the kernel saw it.
    #[serde(rename = "rtt_seconds", serialize_with = "seconds")]
    pub rtt: Duration,
    /// Segments sent again, SYN included.
    pub retransmits: u32,
}

/// The TLS session and the chain that the peer showed, trusted or not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// Cipher suite, IANA spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// Key exchange group, IANA spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Protocol agreed by ALPN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// Whether the server asked for a client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_requested: Option<bool>,
    /// DNS names and IP addresses of the leaf's subjectAltName.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peer_names: Vec<String>,
    /// `spiffe://` URI of the leaf's subjectAltName.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_spiffe_id: Option<String>,
    /// Latest notBefore of the chain.
    #[serde(serialize_with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<SystemTime>,
    /// Earliest notAfter of the chain.
    #[serde(serialize_with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<SystemTime>,
    /// SHA-256 over the DER of the whole chain, leaf first, lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_sha256: Option<String>,
    /// Each certificate as shown, leaf first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<CertificateFacts>,
}

/// One certificate of a chain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CertificateFacts {
    /// Subject distinguished name.
    pub subject: String,
    /// Issuer distinguished name.
    pub issuer: String,
    /// Start of validity.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: SystemTime,
    /// End of validity.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: SystemTime,
    /// SHA-256 of the DER, lower-case hex.
    pub sha256: String,
}

/// The HTTP response that ended the attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HttpFacts {
    /// Status code of the last response.
    pub status: u16,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub version: &'static str,
    /// Redirects followed.
    #[serde(skip_serializing_if = "is_zero")]
    pub redirects: u32,
    /// Content-Length, when the server stated it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_length: Option<u64>,
    /// Body bytes as received.
    pub body_bytes: u64,
    /// Body bytes after decompression, when there was any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decompressed_bytes: Option<u64>,
    /// Trailer fields after the body.
    #[serde(skip_serializing_if = "is_zero")]
    pub trailers: u32,
}

/// How a held connection lived.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HoldFacts {
    /// From established to its end, or to the end of the attempt.
    #[serde(rename = "held_seconds", serialize_with = "seconds")]
    pub held: Duration,
    /// Heartbeats answered.
    pub heartbeats: u64,
    /// Slowest answered heartbeat.
    #[serde(rename = "slowest_heartbeat_seconds", serialize_with = "seconds")]
    pub slowest_heartbeat: Duration,
}

/// What happened: data, also when it failed. `Err` is only for a prober that broke.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Wall clock at the start; for people and correlation, never for arithmetic.
    pub started_at: SystemTime,
    /// Start to end, or to the failure; monotonic.
    pub duration: Duration,
    /// Where the time went.
    pub phases: Phases,
    /// `None` when the exchange completed.
    pub failure: Option<Failure>,
    /// Bytes received on the connection, TLS records included. Zero is part of what makes a
    /// denial a denial.
    pub reply_bytes: u64,
    /// What was seen.
    pub facts: Facts,
}

impl Outcome {
    /// Bytes that came from what was asked, the tunnel to it not counted: zero is silence.
    pub fn answer_bytes(&self) -> u64 {
        match &self.facts.hbone {
            Some(hbone) if hbone.authority.is_some() => hbone.reply_bytes.unwrap_or(0),
            Some(_) | None => self.reply_bytes,
        }
    }

    /// The outcome of an attempt that our own side ended or spoiled before it had one.
    pub fn spoiled(started_at: SystemTime, duration: Duration, fault: Fault) -> Self {
        Self {
            started_at,
            duration,
            phases: Phases::default(),
            failure: Some(fault.during(Phase::Connect)),
            reply_bytes: 0,
            facts: Facts::default(),
        }
    }
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

pub(crate) fn seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

pub(crate) fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = OffsetDateTime::from(*time).format(&Rfc3339).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

fn rfc3339_option<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

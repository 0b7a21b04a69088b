//! Who is probed, from where, and how: the nouns that every other module uses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of question that a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// One DNS question.
    Dns,
    /// A TCP connection, with optional bytes both ways.
    Tcp,
    /// A TLS handshake.
    Tls,
    /// One HTTP request.
    Http,
    /// A connection that is kept open under a heartbeat.
    Hold,
    /// ztunnel's HBONE port: its certificate, or a request through a tunnel.
    Hbone,
    /// The ladder to istiod: name, TCP, TLS, HTTP/2, xDS, certificate signing.
    Istiod,
    /// Whether this pod's own traffic is captured.
    Capture,
    /// Small and large bodies both ways.
    Mtu,
    /// ztunnel's readiness and its counters.
    Ztunnel,
}

impl ProbeKind {
    /// Every kind, in the order of the layers.
    pub const ALL: [Self; 10] = [
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Http,
        Self::Hold,
        Self::Hbone,
        Self::Istiod,
        Self::Capture,
        Self::Mtu,
        Self::Ztunnel,
    ];

    /// The name in configuration, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Hold => "hold",
            Self::Hbone => "hbone",
            Self::Istiod => "istiod",
            Self::Capture => "capture",
            Self::Mtu => "mtu",
            Self::Ztunnel => "ztunnel",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The side of the mesh that an agent looks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vantage {
    /// A pod whose traffic its node's ztunnel captures.
    Ambient,
    /// A pod outside the mesh.
    Plain,
}

impl Vantage {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ambient, Self::Plain];

    /// The name in configuration, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ambient => "ambient",
            Self::Plain => "plain",
        }
    }
}

impl fmt::Display for Vantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Vantage {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "ambient" => Ok(Self::Ambient),
            "plain" => Ok(Self::Plain),
            _ => Err(UnknownWord { expected: "ambient or plain" }),
        }
    }
}

/// Through what a target is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A pod's own address.
    PodIp,
    /// A Service's virtual address.
    ClusterIp,
    /// An HBONE tunnel.
    Hbone,
    /// Something outside the cluster.
    External,
}

impl Via {
    /// The name in configuration, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PodIp => "pod_ip",
            Self::ClusterIp => "cluster_ip",
            Self::Hbone => "hbone",
            Self::External => "external",
        }
    }
}

impl FromStr for Via {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "pod_ip" => Ok(Self::PodIp),
            "cluster_ip" => Ok(Self::ClusterIp),
            "hbone" => Ok(Self::Hbone),
            "external" => Ok(Self::External),
            _ => Err(UnknownWord { expected: "pod_ip, cluster_ip, hbone or external" }),
        }
    }
}

/// A word outside a closed vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {expected}")]
pub struct UnknownWord {
    /// The words that are allowed.
    pub expected: &'static str,
}

/// A target's name: a metric label value, unique within one configuration.
///
/// 1 to 128 of `A-Z a-z 0-9 . _ : / -`, so that it stays readable in a label and in a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TargetName(String);

impl TargetName {
    /// The longest that it may be, characters.
    pub const LONGEST: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TargetName {
    type Err = InvalidTargetName;

    fn from_str(text: &str) -> Result<Self, InvalidTargetName> {
        named(text, Self::LONGEST).map(Self).ok_or(InvalidTargetName)
    }
}

fn named(text: &str, longest: usize) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
    let fits = (1..=longest).contains(&text.len()) && text.chars().all(allowed);
    fits.then(|| text.to_owned())
}

/// A name that cannot be a label value everywhere it must be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 characters of A-Z a-z 0-9 . _ : / -")]
pub struct InvalidTargetName;

/// What observations of a target are of, in the words of a topology: `peer`, `coredns/<pod>`,
/// `service/<ns>/<name>`, …; many targets of one agent may share it.
///
/// 1 to 300 of the characters of a [`TargetName`]: longer, because names of pods and Services are
/// in it unabridged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SubjectName(String);

impl SubjectName {
    /// The longest, characters.
    pub const LONGEST: usize = 300;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubjectName {
    type Err = InvalidSubjectName;

    fn from_str(text: &str) -> Result<Self, InvalidSubjectName> {
        named(text, Self::LONGEST).map(Self).ok_or(InvalidSubjectName)
    }
}

/// A name that observations cannot bear.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 300 characters of A-Z a-z 0-9 . _ : / -")]
pub struct InvalidSubjectName;

/// A host: an address, or a name that is still to be resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An address literal; nothing is resolved.
    Ip(IpAddr),
    /// A DNS name, without a check of its spelling beyond length and control characters.
    Name(String),
}

impl FromStr for Host {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse() {
            return Ok(Self::Ip(ip));
        }
        let printable = |c: char| c.is_ascii_graphic() && !"/[]@?#:".contains(c);
        if bare.is_none() && (1..=254).contains(&text.len()) && text.chars().all(printable) {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(InvalidEndpoint::Host)
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// `host:port`, the host an address or a name; IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Where.
    pub host: Host,
    /// TCP or UDP port, never 0.
    pub port: u16,
}

impl Endpoint {
    /// Parses `host` or `host:port`, the port defaulting to `port`.
    pub fn with_default_port(text: &str, port: u16) -> Result<Self, InvalidEndpoint> {
        match text.parse::<Self>() {
            Err(InvalidEndpoint::PortMissing) => Ok(Self { host: text.parse()?, port }),
            other => other,
        }
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        if text.parse::<IpAddr>().is_ok() {
            return Err(InvalidEndpoint::PortMissing);
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => return Err(InvalidEndpoint::PortMissing),
        };
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(InvalidEndpoint::Port)?;
        let host = host.parse()?;
        Ok(Self { host, port })
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Text that is no `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The host part is empty, too long, or has characters that no host has.
    #[error("the host is neither an IP address nor a DNS name")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// There is no port.
    #[error("the port is missing: write host:port, IPv6 as [address]:port")]
    PortMissing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_back_as_written() {
        for text in ["127.0.0.1:80", "[::1]:443", "kube-dns.kube-system.svc:53", "a.b.:1"] {
            assert_eq!(text.parse::<Endpoint>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn wrong_endpoints_say_which_part_is_wrong() {
        for (text, error) in [
            ("", InvalidEndpoint::PortMissing),
            ("::1", InvalidEndpoint::PortMissing),
            ("[::1]", InvalidEndpoint::PortMissing),
            ("host", InvalidEndpoint::PortMissing),
            ("host:", InvalidEndpoint::Port),
            ("host:0", InvalidEndpoint::Port),
            ("host:65536", InvalidEndpoint::Port),
            (":80", InvalidEndpoint::Host),
            ("a b:80", InvalidEndpoint::Host),
            ("http://a:80", InvalidEndpoint::Host),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_default_port_fills_only_a_missing_one() {
        let parse = |text| Endpoint::with_default_port(text, 53).map(|e| e.to_string());
        assert_eq!(parse("10.96.0.10"), Ok("10.96.0.10:53".to_owned()));
        assert_eq!(parse("::1"), Ok("[::1]:53".to_owned()));
        assert_eq!(parse("dns:5353"), Ok("dns:5353".to_owned()));
        assert_eq!(parse("dns:x"), Err(InvalidEndpoint::Port));
    }

    #[test]
    fn target_names_stay_fit_for_labels() {
        assert!("coredns/10.0.0.1:udp".parse::<TargetName>().is_ok());
        for bad in ["", "a b", "é", "a\n", &"x".repeat(129)] {
            assert!(bad.parse::<TargetName>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(300).parse::<SubjectName>().is_ok());
        for bad in ["", "a b", &"x".repeat(301)] {
            assert!(bad.parse::<SubjectName>().is_err(), "{bad:?}");
        }
    }
}

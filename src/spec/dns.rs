//! What a DNS question can be.

use ipnet::IpNet;

use crate::spec::InvalidAddress;
use crate::target::Endpoint;

/// How a DNS question is put.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsModule {
    /// The name in question, when the target's address is the server.
    pub name: Option<String>,
    /// The server, when the target's address is the name.
    pub server: Option<Endpoint>,
    /// Record type.
    pub qtype: Qtype,
    /// Transport of the first query.
    pub transport: Transport,
    /// Further datagrams after the first one went unanswered; 0 sends exactly one packet.
    pub retries: u8,
    /// Whether and how a relative name is expanded.
    pub search: Search,
    /// RCODEs that are a good reply, IANA spelling; NOERROR by default.
    pub rcodes: Vec<String>,
    /// Fewest answers of the asked type that are a good NOERROR reply.
    pub min_answers: u16,
    /// When not empty, every A or AAAA answer must be in one of these.
    pub addresses: Vec<IpNet>,
}

/// A record type that a probe can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation: RFC 1035, 2782, 3596")]
pub enum Qtype {
    A,
    Aaaa,
    Srv,
    Cname,
    Ptr,
    Txt,
}

impl Qtype {
    /// Every type.
    pub const ALL: [Self; 6] = [Self::A, Self::Aaaa, Self::Srv, Self::Cname, Self::Ptr, Self::Txt];

    /// The IANA spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
            Self::Cname => "CNAME",
            Self::Ptr => "PTR",
            Self::Txt => "TXT",
        }
    }
}

/// What carries a DNS query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams; a truncated reply falls over to TCP, and the facts say so.
    Udp,
    /// A fresh connection.
    Tcp,
}

/// How a relative name becomes the names that are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// As it is, taken as fully qualified.
    Off,
    /// With `search` and `ndots` of resolv.conf.
    ResolvConf,
    /// With these.
    List {
        /// Suffixes, in order.
        domains: Vec<String>,
        /// Names with fewer dots try the suffixes first.
        ndots: u8,
    },
}

/// Checks that `text` can be asked as a DNS name (RFC 1035: 253 octets, labels of 1 to 63).
pub fn dns_name(text: &str) -> Result<String, InvalidAddress> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_ascii_graphic())
    };
    if text == "." || (bare.len() <= 253 && bare.split('.').all(label)) {
        Ok(text.to_owned())
    } else {
        Err(InvalidAddress::DnsName)
    }
}

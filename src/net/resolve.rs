//! Names to addresses, as the `resolve` phase of probes over TCP.
//!
//! One query per name and family, to the first nameserver, without retries and without a cache:
//! a lost packet or a dead nameserver shows up as what it is, where libc would hide it for five
//! seconds at a time.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use hickory_proto::op::Query;
use hickory_resolver::Hosts;
use hickory_resolver::system_conf::parse_resolv_conf;

use crate::failure::{Fault, Reason};
use crate::net::dns::{self, Name, Question, Rcode, Reply, SearchList, Tally};
use crate::spec::{IpFamily, IpPreference, Qtype};

const DNS_PORT: u16 = 53;

/// The highest `ndots` that libc takes.
const MAX_NDOTS: u8 = 15;

/// Resolves target names through hosts file and nameservers.
///
/// By default it knows neither, and every name but localhost fails.
#[derive(Debug, Default)]
pub struct Resolver {
    nameservers: Vec<SocketAddr>,
    search: SearchList,
    hosts: Hosts,
}

impl Resolver {
    /// Reads `resolv_conf` and `hosts`; a hosts file that does not exist is an empty one.
    ///
    /// Without a `nameserver` line the one of this machine is meant, as resolv.conf(5) has it.
    pub fn load(resolv_conf: &Path, hosts: &Path) -> io::Result<Self> {
        let mut text = std::fs::read(resolv_conf)?;
        let names_one = |line: &[u8]| line.trim_ascii_start().starts_with(b"nameserver");
        if !text.split(|byte| *byte == b'\n').any(names_one) {
            text.extend_from_slice(b"\nnameserver 127.0.0.1\n");
        }
        let (config, options) = parse_resolv_conf(text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let servers = config.name_servers().iter();
        let mut resolver = Self {
            nameservers: servers.map(|it| SocketAddr::new(it.ip, DNS_PORT)).collect(),
            search: SearchList {
                domains: config.search().iter().map(qualified).collect(),
                ndots: u8::try_from(options.ndots).map_or(MAX_NDOTS, |it| it.min(MAX_NDOTS)),
            },
            hosts: Hosts::default(),
        };
        match File::open(hosts) {
            Ok(file) => resolver.hosts.read_hosts_conf(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(resolver)
    }

    /// A resolver with these nameservers and search list, and no hosts file.
    pub fn with_nameservers(nameservers: Vec<SocketAddr>, search: SearchList) -> Self {
        Self { nameservers, search, hosts: Hosts::default() }
    }

    /// A resolver that knows one name and no other: what was checked cannot become another
    /// address when it is resolved again.
    pub fn pinned(name: &str, address: IpAddr) -> Self {
        let mut resolver = Self::default();
        let line = format!("{address} {name}\n");
        // Reading from memory does not fail.
        let _ = resolver.hosts.read_hosts_conf(line.as_bytes());
        resolver
    }

    /// The nameservers, in order; only the first is asked.
    pub fn nameservers(&self) -> &[SocketAddr] {
        &self.nameservers
    }

    /// What is tried for relative names.
    pub fn search(&self) -> &SearchList {
        &self.search
    }

    /// The first nameserver. `local_resource` when there is none.
    pub fn nameserver(&self) -> Result<SocketAddr, Fault> {
        let first = self.nameservers.first().copied();
        first.ok_or_else(|| {
            let detail = "no nameserver is configured (resolv.conf)";
            Fault::new(Reason::LocalResource, detail)
        })
    }

    /// The preferred address of `name`. Bounded by the caller's deadline only.
    ///
    /// Hosts file first. Then each name of the search list is asked for the preferred family, and
    /// for the other one when that may serve and the name has no address of the preferred.
    pub async fn resolve(&self, name: &str, ip: IpPreference) -> Result<IpAddr, Fault> {
        let all = self.resolve_all(name, ip).await?;
        Ok(*all.first().expect("no address is an error"))
    }

    /// Every address of `name` in the family that [`Self::resolve`] would choose, in the order of
    /// the answer; at least one. Bounded by the caller's deadline only.
    pub async fn resolve_all(&self, name: &str, ip: IpPreference) -> Result<Vec<IpAddr>, Fault> {
        let names = self.search.expand(name)?;
        if let Some(address) = self.local_address(&dns::absolute(name)?, ip) {
            return Ok(vec![address]);
        }
        let server = self
            .nameserver()
            .map_err(|fault| Fault::new(fault.reason, format!("{name}: {}", fault.detail)))?;
        let mut absence = None;
        let mut exists = false;
        for name in names {
            for family in families(ip) {
                let question = Question { name: name.clone(), qtype: qtype(family) };
                let fault = match addresses(server, &question).await {
                    Ok(addresses) => return Ok(addresses),
                    Err(fault) => fault,
                };
                let nodata = fault.reason == Reason::Nodata;
                if !nodata && fault.reason != Reason::Nxdomain {
                    return Err(fault);
                }
                // NODATA says that a name exists: more than a later name that does not.
                if nodata || !exists {
                    absence = Some(fault);
                }
                exists |= nodata;
                // NXDOMAIN holds for every type (RFC 8020). Some servers say it wrongly of a name
                // that has no AAAA (RFC 4074), so after AAAA the other family is asked anyway.
                if !nodata && family == IpFamily::V4 {
                    break;
                }
            }
        }
        Err(absence.expect("a name expands to at least itself"))
    }

    /// From the hosts file, or `localhost` (RFC 6761).
    fn local_address(&self, name: &Name, ip: IpPreference) -> Option<IpAddr> {
        let listed = families(ip).find_map(|family| {
            let record_type = dns::record_type(qtype(family));
            let query = Query::query(name.to_lowercase(), record_type);
            let lookup = self.hosts.lookup_static_host(&query)?;
            lookup.answers().iter().find_map(|it| it.data.ip_addr())
        });
        listed.or_else(|| {
            name.is_localhost().then_some(match ip.family {
                IpFamily::V4 => Ipv4Addr::LOCALHOST.into(),
                IpFamily::V6 => Ipv6Addr::LOCALHOST.into(),
            })
        })
    }
}

fn qualified(name: &Name) -> Name {
    let mut name = name.clone();
    name.set_fqdn(true);
    name
}

fn families(ip: IpPreference) -> impl Iterator<Item = IpFamily> {
    let other = match ip.family {
        IpFamily::V4 => IpFamily::V6,
        IpFamily::V6 => IpFamily::V4,
    };
    [ip.family].into_iter().chain(ip.fallback.then_some(other))
}

fn qtype(family: IpFamily) -> Qtype {
    match family {
        IpFamily::V4 => Qtype::A,
        IpFamily::V6 => Qtype::Aaaa,
    }
}

async fn addresses(server: SocketAddr, question: &Question) -> Result<Vec<IpAddr>, Fault> {
    let reply = ask(server, question).await.map_err(|fault| {
        let detail = format!("{} from {server}: {}", question.name_text(), fault.detail);
        Fault::new(fault.reason, detail)
    })?;
    let rcode = reply.rcode();
    if rcode != Rcode::NOERROR {
        let detail = format!("{rcode} for {} from {server}", question.name_text());
        return Err(Fault::new(rcode.reason(), detail));
    }
    let all: Vec<IpAddr> =
        reply.answers(question)?.iter().filter_map(|answer| answer.ip()).collect();
    if all.is_empty() {
        let qtype = question.qtype.as_str();
        let detail = format!("{} has no {qtype} at {server}", question.name_text());
        return Err(Fault::new(Reason::Nodata, detail));
    }
    Ok(all)
}

/// One datagram; over TCP again when its reply was truncated.
async fn ask(server: SocketAddr, question: &Question) -> Result<Reply, Fault> {
    let mut tally = Tally::default();
    let reply = dns::ask_udp(server, question, &mut tally).await?;
    if !reply.is_truncated() {
        return Ok(reply);
    }
    let mut stream = super::connect(server).await?;
    dns::ask_tcp(&mut stream, question, &mut tally).await
}

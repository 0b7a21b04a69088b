//! The records below one origin, and the replies that they make.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, TXT};
use hickory_proto::rr::{LowerName, Name, RData, Record};

use crate::lab::world::{TRUST_DOMAIN, World};

/// Seconds that answers may be kept, as CoreDNS' kubernetes plugin gives.
const TTL: u32 = 5;
/// Largest reply over UDP without EDNS (RFC 1035).
const PLAIN_UDP_SIZE: usize = 512;

/// The records below one origin, as every replica of a CoreDNS holds them.
///
/// Answers what it holds (`AA` set), `NODATA` for a held name without the asked type, `NXDOMAIN`
/// below its origin, and `REFUSED` for everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    origin: Name,
    records: BTreeMap<LowerName, Vec<RData>>,
}

impl Zone {
    /// An empty zone.
    pub fn new(origin: Name) -> Self {
        Self { origin, records: BTreeMap::new() }
    }

    /// Every Service of `world` by its hostname, and the version of the DNS schema.
    pub fn of(world: &World) -> Self {
        let absolute = |text: &str| Name::from_ascii(format!("{text}.")).expect("a short name");
        let mut zone = Self::new(absolute(TRUST_DOMAIN));
        for service in &world.services {
            zone.add(&absolute(&service.hostname()), address(service.ip));
        }
        let version = TXT::new(vec!["1.1.0".to_owned()]);
        zone.add(&absolute(&format!("dns-version.{TRUST_DOMAIN}")), RData::TXT(version));
        zone
    }

    /// Adds one record.
    pub fn add(&mut self, name: &Name, data: RData) {
        self.records.entry(LowerName::new(name)).or_default().push(data);
    }

    /// The same zone, in which `hostname` has other addresses; none removes the name.
    ///
    /// What a replica that lost its watch still answers.
    pub fn with(mut self, hostname: &str, addresses: &[IpAddr]) -> Self {
        let Some(name) = lower_name(hostname) else { return self };
        match addresses {
            [] => self.records.remove(&name),
            _ => self.records.insert(name, addresses.iter().copied().map(address).collect()),
        };
        self
    }

    /// The reply to `request`; `None` for what is no query.
    pub(super) fn reply(&self, request: &Message) -> Option<Message> {
        let mut reply = blank_reply(request)?;
        let [query] = request.queries.as_slice() else {
            reply.metadata.response_code = ResponseCode::FormErr;
            return Some(reply);
        };
        let held = self.records.get(&LowerName::new(query.name()));
        reply.metadata.response_code = match held {
            _ if request.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
            _ if !self.origin.zone_of(query.name()) => ResponseCode::Refused,
            None => ResponseCode::NXDomain,
            Some(_) => ResponseCode::NoError,
        };
        reply.metadata.authoritative = reply.metadata.response_code != ResponseCode::Refused;
        for data in held.into_iter().flatten() {
            if data.record_type() == query.query_type() {
                reply.add_answer(Record::from_rdata(query.name().clone(), TTL, data.clone()));
            }
        }
        Some(reply)
    }
}

/// A reply to `request` that says nothing yet; `None` when it is no query.
pub(super) fn blank_reply(request: &Message) -> Option<Message> {
    let metadata = &request.metadata;
    if metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(metadata.id, metadata.op_code);
    reply.metadata.recursion_desired = metadata.recursion_desired;
    if let [query] = request.queries.as_slice() {
        reply.add_query(query.clone());
    }
    Some(reply)
}

/// The address record of `ip`.
pub(super) fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// `hostname` as it is compared, absolute; `None` when it is no name.
pub(super) fn lower_name(hostname: &str) -> Option<LowerName> {
    let absolute = format!("{}.", hostname.trim_end_matches('.'));
    Name::from_ascii(absolute).ok().map(|name| LowerName::new(&name))
}

/// The bytes of `reply`, cut for a datagram that must fit what `request` takes.
pub(super) fn datagram(reply: Message, request: &Message) -> Option<Vec<u8>> {
    let limit = request.edns.as_ref().map_or(PLAIN_UDP_SIZE, |edns| edns.max_payload().into());
    let bytes = reply.to_vec().ok()?;
    if bytes.len() <= limit { Some(bytes) } else { reply.truncate().to_vec().ok() }
}

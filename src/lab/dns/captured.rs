//! DNS as a captured pod sees it: ztunnel's part.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{LowerName, Record, RecordType};
use tokio::net::TcpStream;

use super::exchange::{by_tcp, by_udp, messages};
use super::server::{Serve, Server};
use super::zone::{address, blank_reply, datagram, lower_name};
use crate::lab::port::Gate;

/// Seconds that ztunnel's own answers may be kept.
const TTL: u32 = 30;

/// What a captured view answers by itself, and where the rest goes.
#[derive(Debug, Clone)]
pub struct CapturedSetup {
    /// Where the pod believes its resolver to be.
    pub resolver: SocketAddr,
    /// Addresses without a DNS server, which answer all the same as long as capture works.
    pub decoys: Vec<SocketAddr>,
    /// Services that ztunnel knows, by hostname.
    pub services: BTreeMap<String, Vec<IpAddr>>,
    /// ztunnel's own resolver, usually a [`super::ServiceAddress`].
    pub upstream: SocketAddr,
}

/// What is wrong with a captured view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CapturedCondition {
    /// Nothing.
    #[default]
    Serves,
    /// ztunnel is dead: refused.
    Down,
    /// ztunnel is frozen: read, and never answered.
    Silent,
    /// ztunnel has no Services yet, or none any more: everything is passed on.
    Unaware,
    /// These Services have other addresses than in CoreDNS, by hostname.
    Differs(BTreeMap<String, Vec<IpAddr>>),
    /// Nothing is captured: the resolver is reached as such, the decoys by nobody.
    Lost,
}

/// A running captured view of one pod; dropping it ends it.
#[derive(Debug)]
pub struct Captured {
    resolver: Server,
    decoys: Vec<Server>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    services: BTreeMap<LowerName, Vec<IpAddr>>,
    upstream: SocketAddr,
    condition: RwLock<CapturedCondition>,
}

impl Captured {
    /// Listens as `setup` says; ports 0 become free ones.
    pub async fn start(setup: CapturedSetup) -> anyhow::Result<Self> {
        let state = Arc::new(State {
            services: by_name(&setup.services),
            upstream: setup.upstream,
            condition: RwLock::default(),
        });
        let resolver = listen(setup.resolver, &state).await?;
        let mut decoys = Vec::new();
        for decoy in setup.decoys {
            decoys.push(listen(decoy, &state).await?);
        }
        Ok(Self { resolver, decoys, state })
    }

    /// What the pod's `resolv.conf` names.
    pub fn resolver(&self) -> SocketAddr {
        self.resolver.address()
    }

    /// The decoys, in the order of the setup.
    pub fn decoys(&self) -> Vec<SocketAddr> {
        self.decoys.iter().map(Server::address).collect()
    }

    /// Breaks or heals it; in force on return.
    pub async fn set(&self, condition: CapturedCondition) -> anyhow::Result<()> {
        let (resolver, decoys) = match &condition {
            CapturedCondition::Serves
            | CapturedCondition::Silent
            | CapturedCondition::Unaware
            | CapturedCondition::Differs(_) => (Gate::Open, Gate::Open),
            CapturedCondition::Down => (Gate::Refused, Gate::Refused),
            CapturedCondition::Lost => (Gate::Open, Gate::Dropped),
        };
        *self.state.condition.write().unwrap_or_else(PoisonError::into_inner) = condition;
        self.resolver.set(resolver).await?;
        for decoy in &self.decoys {
            decoy.set(decoys).await?;
        }
        Ok(())
    }
}

async fn listen(address: SocketAddr, state: &Arc<State>) -> anyhow::Result<Server> {
    let server = Server::start(address, Arc::clone(state)).await;
    server.with_context(|| format!("captured DNS: {address}"))
}

fn by_name(services: &BTreeMap<String, Vec<IpAddr>>) -> BTreeMap<LowerName, Vec<IpAddr>> {
    let named = services.iter().filter_map(|(name, ips)| Some((lower_name(name)?, ips.clone())));
    named.collect()
}

/// What becomes of a question.
enum Handling {
    Answered(Message),
    PassedOn,
    Ignored,
}

impl State {
    fn handle(&self, request: &Message) -> Handling {
        let condition = self.condition.read().unwrap_or_else(PoisonError::into_inner).clone();
        let known = match &condition {
            CapturedCondition::Serves => self.known(request),
            CapturedCondition::Down | CapturedCondition::Silent => return Handling::Ignored,
            CapturedCondition::Unaware | CapturedCondition::Lost => None,
            CapturedCondition::Differs(others) => {
                found(&by_name(others), request).or_else(|| self.known(request))
            }
        };
        let local = known.and_then(|ips| local(request, &ips));
        local.map_or(Handling::PassedOn, Handling::Answered)
    }

    fn known(&self, request: &Message) -> Option<Vec<IpAddr>> {
        found(&self.services, request)
    }
}

/// The addresses of the Service that `request` asks for.
fn found(services: &BTreeMap<LowerName, Vec<IpAddr>>, request: &Message) -> Option<Vec<IpAddr>> {
    let [query] = request.queries.as_slice() else { return None };
    services.get(&LowerName::new(query.name())).cloned()
}

/// ztunnel's own answer; `None` for types that are not its own.
fn local(request: &Message, ips: &[IpAddr]) -> Option<Message> {
    let [query] = request.queries.as_slice() else { return None };
    if !matches!(query.query_type(), RecordType::A | RecordType::AAAA) {
        return None;
    }
    let mut reply = blank_reply(request)?;
    reply.metadata.authoritative = true;
    for data in ips.iter().copied().map(address) {
        if data.record_type() == query.query_type() {
            reply.add_answer(Record::from_rdata(query.name().clone(), TTL, data));
        }
    }
    Some(reply)
}

/// What ztunnel says when its own resolver failed.
fn failed(request: &Message) -> Option<Message> {
    let mut reply = blank_reply(request)?;
    reply.metadata.response_code = ResponseCode::ServFail;
    Some(reply)
}

impl Serve for State {
    async fn datagram(&self, question: Vec<u8>) -> Option<Vec<u8>> {
        let request = Message::from_vec(&question).ok()?;
        match self.handle(&request) {
            Handling::Answered(reply) => datagram(reply, &request),
            Handling::PassedOn => match by_udp(self.upstream, &question).await {
                Some(reply) => Some(reply),
                None => datagram(failed(&request)?, &request),
            },
            Handling::Ignored => None,
        }
    }

    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send {
        messages(stream, async |question| {
            let request = Message::from_vec(&question).ok()?;
            match self.handle(&request) {
                Handling::Answered(reply) => reply.to_vec().ok(),
                Handling::PassedOn => match by_tcp(self.upstream, &question).await {
                    Some(reply) => Some(reply),
                    None => failed(&request)?.to_vec().ok(),
                },
                Handling::Ignored => None,
            }
        })
    }
}

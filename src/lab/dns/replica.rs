//! One replica of CoreDNS.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::net::TcpStream;

use super::exchange::messages;
use super::server::{Serve, Server};
use super::zone::{Zone, blank_reply, datagram};
use crate::lab::port::Gate;

/// What is wrong with a replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ReplicaCondition {
    /// Nothing.
    #[default]
    Serves,
    /// The process is dead: refused.
    Down,
    /// Nothing reaches it: a NetworkPolicy, or a dead node.
    Dropped,
    /// Connections are accepted, questions read, nothing answered: frozen.
    Silent,
    /// One datagram in this many gets no answer.
    Lossy(u64),
    /// Each answer takes this much longer.
    Slow(Duration),
    /// SERVFAIL: it cannot reach the API server or its upstreams.
    Servfail,
    /// Answers with what was once true.
    Stale(Zone),
}

/// A running replica; dropping it ends it.
#[derive(Debug)]
pub struct Replica {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    zone: Zone,
    condition: RwLock<ReplicaCondition>,
    questions: AtomicU64,
}

impl Replica {
    /// Serves `zone` on `address`; port 0 takes a free one.
    pub async fn start(address: SocketAddr, zone: Zone) -> std::io::Result<Self> {
        let state =
            Arc::new(State { zone, condition: RwLock::default(), questions: AtomicU64::new(0) });
        let server = Server::start(address, Arc::clone(&state)).await?;
        Ok(Self { server, state })
    }

    /// The address with the port that was given.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Questions that reached it.
    pub fn questions(&self) -> u64 {
        self.state.questions.load(Ordering::Relaxed)
    }

    /// Breaks or heals it; in force on return.
    pub async fn set(&self, condition: ReplicaCondition) -> anyhow::Result<()> {
        let gate = match &condition {
            ReplicaCondition::Down => Gate::Refused,
            ReplicaCondition::Dropped => Gate::Dropped,
            ReplicaCondition::Serves
            | ReplicaCondition::Silent
            | ReplicaCondition::Lossy(_)
            | ReplicaCondition::Slow(_)
            | ReplicaCondition::Servfail
            | ReplicaCondition::Stale(_) => Gate::Open,
        };
        *self.state.condition.write().unwrap_or_else(PoisonError::into_inner) = condition;
        self.server.set(gate).await
    }
}

impl State {
    /// The question with its reply, when there is to be one.
    async fn reply(&self, question: Vec<u8>, lossy: bool) -> Option<(Message, Message)> {
        let request = Message::from_vec(&question).ok()?;
        let number = self.questions.fetch_add(1, Ordering::Relaxed) + 1;
        let condition = self.condition.read().unwrap_or_else(PoisonError::into_inner).clone();
        let reply = match condition {
            ReplicaCondition::Serves => self.zone.reply(&request),
            ReplicaCondition::Down | ReplicaCondition::Dropped | ReplicaCondition::Silent => None,
            ReplicaCondition::Lossy(each) if lossy && number.is_multiple_of(each) => None,
            ReplicaCondition::Lossy(_) => self.zone.reply(&request),
            ReplicaCondition::Slow(longer) => {
                tokio::time::sleep(longer).await;
                self.zone.reply(&request)
            }
            ReplicaCondition::Servfail => blank_reply(&request).map(|mut reply| {
                reply.metadata.response_code = ResponseCode::ServFail;
                reply
            }),
            ReplicaCondition::Stale(zone) => zone.reply(&request),
        }?;
        Some((request, reply))
    }
}

impl Serve for State {
    async fn datagram(&self, question: Vec<u8>) -> Option<Vec<u8>> {
        let (request, reply) = self.reply(question, true).await?;
        datagram(reply, &request)
    }

    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send {
        messages(stream, async |question| self.reply(question, false).await?.1.to_vec().ok())
    }
}

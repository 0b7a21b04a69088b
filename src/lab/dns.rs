//! The lab's DNS server: one zone, over UDP and TCP on the same port, as a CoreDNS replica.
//!
//! Answers what it holds (`AA` set), `NODATA` for a held name without the asked type, `NXDOMAIN`
//! below its origin, and `REFUSED` for everything else.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{LowerName, Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Seconds that answers may be kept, as CoreDNS' kubernetes plugin gives.
const TTL: u32 = 5;
/// Largest reply over UDP without EDNS (RFC 1035).
const PLAIN_UDP_SIZE: usize = 512;

/// The records below one origin.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    origin: Name,
    records: BTreeMap<LowerName, Vec<RData>>,
}

impl Zone {
    pub(super) fn new(origin: Name) -> Self {
        Self { origin, records: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, name: &Name, data: RData) {
        self.records.entry(LowerName::new(name)).or_default().push(data);
    }

    /// The reply to `request`; `None` for what is no query.
    fn reply(&self, request: &Message) -> Option<Message> {
        let metadata = &request.metadata;
        if metadata.message_type != MessageType::Query {
            return None;
        }
        let mut reply = Message::response(metadata.id, metadata.op_code);
        reply.metadata.recursion_desired = metadata.recursion_desired;
        let [query] = request.queries.as_slice() else {
            reply.metadata.response_code = ResponseCode::FormErr;
            return Some(reply);
        };
        reply.add_query(query.clone());
        let held = self.records.get(&LowerName::new(query.name()));
        reply.metadata.response_code = match held {
            _ if metadata.op_code != OpCode::Query => ResponseCode::NotImp,
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

/// Serves `zone` until `stop`; the address with the port that was given.
pub(super) async fn serve(
    address: SocketAddr,
    zone: Arc<Zone>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> io::Result<SocketAddr> {
    let tcp = TcpListener::bind(address).await?;
    let address = tcp.local_addr()?;
    let udp = UdpSocket::bind(address).await?;
    tasks.spawn(stop.clone().run_until_cancelled_owned(datagrams(udp, Arc::clone(&zone))));
    tasks.spawn(stop.clone().run_until_cancelled_owned(connections(tcp, zone)));
    Ok(address)
}

async fn datagrams(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = [0; 4096];
    loop {
        // An ICMP error of an earlier reply shows up here; it concerns one client only.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(request) = Message::from_vec(&buffer[..length]) else { continue };
        let Some(reply) = zone.reply(&request) else { continue };
        let limit = request.edns.as_ref().map_or(PLAIN_UDP_SIZE, |edns| edns.max_payload().into());
        let Ok(mut bytes) = reply.to_vec() else { continue };
        if bytes.len() > limit {
            let Ok(truncated) = reply.truncate().to_vec() else { continue };
            bytes = truncated;
        }
        let _ = socket.send_to(&bytes, client).await;
    }
}

async fn connections(listener: TcpListener, zone: Arc<Zone>) {
    let tasks = TaskTracker::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: wait instead of spinning.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        tasks.spawn(messages(stream, Arc::clone(&zone)));
    }
}

async fn messages(mut stream: TcpStream, zone: Arc<Zone>) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await.ok()?;
        let reply = zone.reply(&Message::from_vec(&bytes).ok()?)?.to_vec().ok()?;
        stream.write_u16(u16::try_from(reply.len()).ok()?).await.ok()?;
        stream.write_all(&reply).await.ok()?;
    }
}

//! A DNS server's sockets, UDP and TCP on one port, which open and break together.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::lab::port::{Gate, Port};

/// Questions and connections that are served at once; further ones are dropped.
const MAX_AT_ONCE: usize = 512;
/// Largest question over UDP that is read, bytes.
const MAX_QUESTION: usize = 4096;
/// Tries to find a port that is free for both.
const BINDS: u32 = 20;

/// What a server does with what comes in.
pub(super) trait Serve: Send + Sync + 'static {
    /// The reply to a datagram; `None` for silence.
    fn datagram(&self, question: Vec<u8>) -> impl Future<Output = Option<Vec<u8>>> + Send;
    /// Serves a connection until it ends.
    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send;
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
    _ends: DropGuard,
}

/// How the sockets shall be from now on, and who wants to know that they are.
type Order = (Gate, oneshot::Sender<io::Result<()>>);

struct Sockets {
    tcp: Port,
    /// None while refused.
    udp: Option<Arc<UdpSocket>>,
    gate: Gate,
}

impl Server {
    /// Listens on `address`; port 0 takes one that is free over UDP and TCP.
    pub(super) async fn start(address: SocketAddr, serve: Arc<impl Serve>) -> io::Result<Self> {
        let sockets = bind(address).await?;
        let address = sockets.tcp.address();
        let (orders, inbox) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let serving = run(sockets, serve, inbox, stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self { address, orders, _ends: stop.drop_guard() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens or breaks the sockets; in force on return.
    pub(super) async fn set(&self, gate: Gate) -> anyhow::Result<()> {
        let (done, in_force) = oneshot::channel();
        self.orders.send((gate, done)).await.ok().context("the DNS server has ended")?;
        in_force.await.context("the DNS server has ended")?.context(self.address.to_string())
    }
}

async fn bind(address: SocketAddr) -> io::Result<Sockets> {
    let mut tries = 0;
    loop {
        let tcp = Port::bind(address).await?;
        tries += 1;
        match UdpSocket::bind(tcp.address()).await {
            Ok(udp) => return Ok(Sockets { tcp, udp: Some(Arc::new(udp)), gate: Gate::Open }),
            Err(error) if tries == BINDS || address.port() != 0 => return Err(error),
            Err(_) => {}
        }
    }
}

impl Sockets {
    async fn set(&mut self, gate: Gate) -> io::Result<()> {
        self.gate = gate;
        let address = self.tcp.address();
        self.udp = match (gate, self.udp.take()) {
            (Gate::Refused, _) => None,
            (Gate::Open | Gate::Dropped, Some(udp)) => Some(udp),
            (Gate::Open | Gate::Dropped, None) => Some(Arc::new(UdpSocket::bind(address).await?)),
        };
        self.tcp.set(gate).await
    }

    async fn question(&self, buffer: &mut [u8]) -> (Arc<UdpSocket>, Vec<u8>, SocketAddr) {
        let Some(udp) = &self.udp else { return std::future::pending().await };
        loop {
            // An ICMP error of an earlier reply shows up here; it concerns one client only.
            if let Ok((length, client)) = udp.recv_from(buffer).await {
                return (Arc::clone(udp), buffer[..length].to_vec(), client);
            }
        }
    }
}

async fn run(
    mut sockets: Sockets,
    serve: Arc<impl Serve>,
    mut orders: mpsc::Receiver<Order>,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let mut buffer = vec![0; MAX_QUESTION];
    let mut open = stop.child_token();
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => {
                let Some((gate, done)) = order else { return };
                if gate == Gate::Refused {
                    open.cancel();
                    open = stop.child_token();
                }
                // Who ordered may have gone.
                let _ = done.send(sockets.set(gate).await);
            }
            (udp, question, client) = sockets.question(&mut buffer) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
                if sockets.gate == Gate::Dropped {
                    continue;
                }
                let serve = Arc::clone(&serve);
                let answering = async move {
                    if let Some(reply) = serve.datagram(question).await {
                        // A client that went away is its own business.
                        let _ = udp.send_to(&reply, client).await;
                    }
                    drop(slot);
                };
                tasks.spawn(open.clone().run_until_cancelled_owned(answering));
            }
            (stream, _) = sockets.tcp.accept() => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
                let serve = Arc::clone(&serve);
                let serving = async move {
                    serve.connection(stream).await;
                    drop(slot);
                };
                tasks.spawn(open.clone().run_until_cancelled_owned(serving));
            }
        }
    }
}

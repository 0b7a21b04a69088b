//! The Service address over the replicas: kube-proxy's part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;

use super::exchange::by_udp;
use super::server::{Serve, Server};
use crate::net;

/// A running Service address; dropping it ends it.
///
/// Each datagram and each connection goes to the next replica, well or not: kube-proxy does not
/// look. Two things differ from the kernel's own forwarding: a dead replica is silence instead of
/// *refused* over UDP, and accepted, then reset, over TCP.
#[derive(Debug)]
pub struct ServiceAddress {
    server: Server,
}

#[derive(Debug)]
struct Replicas {
    addresses: Vec<SocketAddr>,
    next: AtomicUsize,
}

impl ServiceAddress {
    /// Forwards from `address` to `replicas` in turn; port 0 takes a free one.
    pub async fn start(address: SocketAddr, replicas: Vec<SocketAddr>) -> std::io::Result<Self> {
        let replicas = Replicas { addresses: replicas, next: AtomicUsize::new(0) };
        Ok(Self { server: Server::start(address, Arc::new(replicas)).await? })
    }

    /// The address with the port that was given.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

impl Replicas {
    /// The next replica in turn; `None` without endpoints.
    fn pick(&self) -> Option<SocketAddr> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.addresses.get(number.checked_rem(self.addresses.len())?).copied()
    }
}

impl Serve for Replicas {
    async fn datagram(&self, question: Vec<u8>) -> Option<Vec<u8>> {
        by_udp(self.pick()?, &question).await
    }

    async fn connection(&self, mut stream: TcpStream) {
        let replica = match self.pick() {
            Some(replica) => net::connect(replica).await.ok(),
            None => None,
        };
        match replica {
            Some(mut replica) => {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut replica).await;
            }
            None => {
                let _ = stream.set_zero_linger();
            }
        }
    }
}

//! The side that dials.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, TokioRuntime};
use tokio::time::{Instant, timeout_at};

use crate::channel::{ALPN, Fault, Key, Peer, SERVER_NAME, bounds};
use crate::net::bind_udp;
use crate::tls::shared_client;

/// Bytes of datagrams that wait for this process.
const RECEIVE_BUFFER: usize = 256 * 1024;

/// Dials any number of others from one socket. Its connections outlive it.
#[derive(Clone)]
pub struct Dialer {
    endpoint: Endpoint,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// Binds a socket for IPv6 and IPv4, or for IPv4 alone where there is no IPv6. Must be called
    /// within a tokio runtime. Fails with [`Fault::Local`] only.
    pub fn new() -> Result<Self, Fault> {
        let any = |address| bind_udp(address, RECEIVE_BUFFER);
        let socket = any(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
            .or_else(|_| any(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(bounds::endpoint(), None, socket, runtime)?;
        Ok(Self { endpoint })
    }

    /// Connects to the listener at `address`, which must prove to hold `key`; without one anybody
    /// will do.
    ///
    /// Whether the listener accepts this side shows with the first answer: until then it may yet
    /// close with [`Fault::Key`].
    pub async fn dial(
        &self,
        address: SocketAddr,
        key: Option<&Key>,
        deadline: Instant,
    ) -> Result<Peer, Fault> {
        let crypto = QuicClientConfig::try_from(shared_client(key, ALPN));
        let mut config = ClientConfig::new(Arc::new(crypto.expect("TLS 1.3 with AES-128-GCM")));
        config.transport_config(bounds::transport(true));
        let connecting = self.endpoint.connect_with(config, address, SERVER_NAME)?;
        match timeout_at(deadline, connecting).await {
            Ok(connected) => Ok(Peer::new(connected?)),
            Err(_) => Err(Fault::Timeout),
        }
    }
}

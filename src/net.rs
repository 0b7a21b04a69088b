//! Sockets as a prober needs them: every connect by ourselves, stamped at the syscall's edge,
//! its errors told apart.
//!
//! Knows nothing of probes or expectations. Kernel receive timestamps take our own wake-up delay
//! out of a latency: on a busy machine a reply can wait for the CPU longer than it travelled.

pub mod dns;
mod fault;
pub mod http;
mod kernel_stamp;
mod listen;
mod resolve;
mod stream;
mod tcp_info;

pub use fault::io_fault;
pub use listen::{bind_udp, listen, raise_file_limit};
pub use resolve::Resolver;
pub use stream::{Stamps, Stream};
pub use tcp_info::TcpInfo;

use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::failure::Fault;

/// Opens a fresh TCP connection to `address`, without Nagle's delay.
///
/// Bounded by the caller's deadline only. Errors are told by [`io_fault`].
pub async fn connect(address: SocketAddr) -> Result<Stream, Fault> {
    connect_from(None, address).await
}

/// The same from the own address `source`, when one is stated and of the same family.
pub async fn connect_from(source: Option<IpAddr>, address: SocketAddr) -> Result<Stream, Fault> {
    let told = |error| io_fault(&error);
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(told)?;
    socket.set_nodelay(true).map_err(told)?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        // The port is chosen at connect, or they would run out.
        setsockopt(&socket, IpBindAddressNoPort, &true).map_err(|error| told(error.into()))?;
        socket.bind(SocketAddr::new(source, 0)).map_err(told)?;
    }
    let began = Instant::now();
    let stream = socket.connect(address).await.map_err(told)?;
    Ok(Stream::new(stream, began.elapsed()))
}

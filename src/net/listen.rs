//! Sockets that wait for others.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

const BACKLOG: i32 = 1024;

/// Listens on each of `addresses`, all or none. Must be called within a tokio runtime.
///
/// `[::]` serves IPv4 too, unless an IPv4 address with the same port is listed beside it. The
/// error comes with the address that cannot be had.
pub fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let listen = |address: &SocketAddr| {
        let beside_v4 = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
        one(*address, addresses.iter().any(beside_v4)).map_err(|error| (*address, error))
    };
    addresses.iter().map(listen).collect()
}

fn one(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Binds a UDP socket to `address`, for tokio or whoever drives it; `[::]` serves IPv4 too.
///
/// `receive_buffer`, bytes, is asked of the kernel, which gives at most `net.core.rmem_max`.
pub fn bind_udp(address: SocketAddr, receive_buffer: usize) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_recv_buffer_size(receive_buffer)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Raises this process's limit of open files as far as it may itself.
///
/// For a process that is many parties at once; failing changes nothing.
pub fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

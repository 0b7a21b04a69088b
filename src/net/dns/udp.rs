//! A question in exactly one datagram, and the first datagram back that answers it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as BlockingSocket};
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::failure::Fault;
use crate::net::dns::{Question, Reply, Tally, wire};
use crate::net::{io_fault, kernel_stamp};

/// More than the query allows the server to send; what is longer is cut and so unreadable.
const BUFFER: usize = 4096;

/// Sends `question` to `server` once, from a fresh port, and waits for its reply, for ever.
///
/// Whatever else arrives is counted and ignored. ICMP errors end the wait: port unreachable is
/// `refused`, net and host unreachable are `unreachable`.
pub async fn ask_udp(
    server: SocketAddr,
    question: &Question,
    tally: &mut Tally,
) -> Result<Reply, Fault> {
    let told = |error| io_fault(&error);
    let (id, bytes) = wire::query(question)?;
    let socket = connected(server).map_err(told)?;
    // Sent before the reactor knows the socket, so that nothing lies between stamp and datagram.
    let sent = Instant::now();
    socket.send(&bytes).map_err(told)?;
    tally.note_sent(sent);
    let socket = UdpSocket::from_std(socket).map_err(told)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (length, arrived) = receive(&socket, &mut buffer, sent).await.map_err(told)?;
        tally.datagram_bytes += length as u64;
        match wire::accept(&buffer[..length], id, question) {
            Ok(message) => {
                return Ok(Reply { message, sent, arrived });
            }
            Err(because) => {
                tally.ignored += 1;
                tally.ignored_because = Some(because);
            }
        }
    }
}

/// A non-blocking socket on a random port that speaks with `server` only.
fn connected(server: SocketAddr) -> io::Result<BlockingSocket> {
    let socket = match server {
        SocketAddr::V4(_) => BlockingSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => BlockingSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.set_nonblocking(true)?;
    kernel_stamp::enable(&socket);
    tell_unreachable(&socket, server);
    socket.connect(server)?;
    Ok(socket)
}

/// Makes a router's word that there is no way count; by default Linux takes it as a hint only.
fn tell_unreachable(socket: &impl AsFd, server: SocketAddr) {
    // Without it the question times out: less said, nothing wrong.
    let _ = match server {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    };
}

/// One datagram: its length, and when it reached this machine.
async fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    sent: Instant,
) -> io::Result<(usize, Instant)> {
    // An ICMP error alone makes a datagram socket neither readable nor closed. Waiting takes both
    // interests together, trying only one at a time (tokio clears readiness by single interest).
    loop {
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        let interest = if ready.is_readable() { Interest::READABLE } else { Interest::ERROR };
        match socket.try_io(interest, || kernel_stamp::receive(socket, buffer)) {
            Ok(received) => {
                let now = Instant::now();
                let stamped = received.age().and_then(|age| now.checked_sub(age));
                let arrived = stamped.filter(|stamped| *stamped >= sent).unwrap_or(now);
                return Ok((received.bytes, arrived));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

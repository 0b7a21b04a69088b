//! Messages over a connection, and questions passed on to another server.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use crate::net;

/// How long another server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may be without a question.
const IDLE: Duration = Duration::from_secs(30);
/// Largest message (RFC 1035).
const MAX_MESSAGE: usize = u16::MAX as usize;

/// Answers the questions of `stream` one after the other, until it ends; no answer is silence.
pub(super) async fn messages<F: Future<Output = Option<Vec<u8>>>>(
    mut stream: TcpStream,
    answer: impl Fn(Vec<u8>) -> F,
) {
    while let Ok(Some(question)) = timeout_at(Instant::now() + IDLE, read(&mut stream)).await {
        let Some(reply) = answer(question).await else { continue };
        if write(&mut stream, &reply).await.is_none() {
            return;
        }
    }
}

/// The answer of `server` to a datagram; `None` when none came, or it refuses.
pub(super) async fn by_udp(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let exchanged = async {
        let socket = UdpSocket::bind(any).await.ok()?;
        socket.connect(server).await.ok()?;
        socket.send(question).await.ok()?;
        let mut reply = vec![0; MAX_MESSAGE];
        let length = socket.recv(&mut reply).await.ok()?;
        reply.truncate(length);
        Some(reply)
    };
    timeout_at(Instant::now() + PATIENCE, exchanged).await.ok()?
}

/// The answer of `server` over a connection of its own; `None` when none came.
pub(super) async fn by_tcp(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let exchanged = async {
        let mut stream = net::connect(server).await.ok()?;
        write(&mut stream, question).await?;
        read(&mut stream).await
    };
    timeout_at(Instant::now() + PATIENCE, exchanged).await.ok()?
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> Option<()> {
    let length = u16::try_from(message.len()).ok()?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await.ok()
}

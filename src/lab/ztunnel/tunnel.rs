//! One HTTP/2 stream as a pipe of bytes, and the pings that notice a dead peer.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, timeout_at};

use super::condition::Timing;

/// Flow-control window of a stream, bytes.
pub(super) const STREAM_WINDOW: u32 = 4 << 20;
/// Flow-control window of a connection, bytes.
pub(super) const CONNECTION_WINDOW: u32 = 16 << 20;
/// Largest frame payload, bytes.
pub(super) const FRAME: u32 = 1 << 20;

/// Both directions of a stream after CONNECT was answered with 200.
#[derive(Debug)]
pub(super) struct Tunnel {
    outgoing: SendStream<Bytes>,
    incoming: RecvStream,
    /// Received, not yet read.
    rest: Bytes,
}

impl Tunnel {
    pub(super) fn new(outgoing: SendStream<Bytes>, incoming: RecvStream) -> Self {
        Self { outgoing, incoming, rest: Bytes::new() }
    }

    /// Why the peer ended the stream, as an error of a socket.
    fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        match ready!(self.outgoing.poll_reset(context)) {
            Ok(Reason::NO_ERROR | Reason::CANCEL | Reason::STREAM_CLOSED) => {
                Poll::Ready(io::ErrorKind::BrokenPipe.into())
            }
            Ok(reason) => Poll::Ready(socket_error(reason.into())),
            Err(error) => Poll::Ready(socket_error(error)),
        }
    }
}

fn socket_error(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.incoming.poll_data(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(data)) => {
                    // Fails only on a stream that is over.
                    let _ = self.incoming.flow_control().release_capacity(data.len());
                    self.rest = data;
                }
                Some(Err(error)) => {
                    return Poll::Ready(match error.reason() {
                        Some(Reason::NO_ERROR | Reason::CANCEL) => Ok(()),
                        _ => Err(socket_error(error)),
                    });
                }
            }
        }
        let fits = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(fits));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.outgoing.reserve_capacity(bytes.len());
        if let Some(Ok(room)) = ready!(self.outgoing.poll_capacity(context)) {
            let fits = room.min(bytes.len());
            if self.outgoing.send_data(Bytes::copy_from_slice(&bytes[..fits]), false).is_ok() {
                return Poll::Ready(Ok(fits));
            }
        }
        self.poll_reset(context).map(Err)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.send_data(Bytes::new(), true).is_ok() {
            return Poll::Ready(Ok(()));
        }
        self.poll_reset(context).map(Err)
    }
}

/// Pings the peer again and again; returns when an answer is too late, never while they come.
pub(super) async fn watch_over(ping_pong: Option<PingPong>, timing: Timing) {
    let Some(mut ping_pong) = ping_pong else { return pending().await };
    loop {
        sleep(timing.ping_interval).await;
        let deadline = Instant::now() + timing.ping_timeout;
        match timeout_at(deadline, ping_pong.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection is over and says so itself.
            Ok(Err(_)) => return pending().await,
            Err(_) => return,
        }
    }
}

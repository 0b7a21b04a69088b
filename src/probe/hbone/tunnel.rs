//! A CONNECT stream as a byte stream. Whoever polls it moves the connection under it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outer::{Shared, locked};
use crate::probe::http::untransported;

/// The two ways through a tunnel.
pub(super) struct Tunnel {
    http2: Shared,
    there: h2::SendStream<Bytes>,
    back: h2::RecvStream,
    /// Of the last data, what is not read yet.
    rest: Bytes,
}

impl Tunnel {
    pub(super) fn new(http2: Shared, there: h2::SendStream<Bytes>, back: h2::RecvStream) -> Self {
        Self { http2, there, back, rest: Bytes::new() }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { http2, back, rest, .. } = self.get_mut();
        while rest.is_empty() {
            match ready!(locked(http2).poll_data(back, context)) {
                Some(data) => *rest = data.map_err(untransported)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { http2, there, .. } = self.get_mut();
        let mut http2 = locked(http2);
        let room = ready!(http2.poll_room(there, buffer.len(), context)).map_err(untransported)?;
        let data = Bytes::copy_from_slice(&buffer[..room]);
        http2.put(there, data).map_err(untransported)?;
        Poll::Ready(Ok(room))
    }

    /// Hands to the kernel what it takes; the rest goes when the tunnel is polled again.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        locked(&self.http2).drive(context);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Ends our way; if the peer has not ended its own, the stream is cancelled.
impl Drop for Tunnel {
    fn drop(&mut self) {
        // Refused when the stream is over already.
        let _ = self.there.send_data(Bytes::new(), true);
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

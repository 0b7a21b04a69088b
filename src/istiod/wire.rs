//! The TLS stream under HTTP/2, which remembers how it ended: h2 forgets.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::failure::{Fault, Reason};
use crate::net::Stream;
use crate::tls::io_fault;

/// A TLS stream that h2 owns.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TlsStream<Stream>,
    ended: Ended,
}

/// How a [`Wire`] ended, when it did.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended(Arc<OnceLock<Fault>>);

impl Ended {
    pub(super) fn fault(&self) -> Option<Fault> {
        self.0.get().cloned()
    }

    fn note<T>(&self, result: &io::Result<T>) {
        if let Err(error) = result {
            self.0.get_or_init(|| io_fault(error));
        }
    }
}

impl Wire {
    pub(super) fn new(stream: TlsStream<Stream>) -> Self {
        Self { stream, ended: Ended::default() }
    }

    pub(super) fn ended(&self) -> Ended {
        self.ended.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining() > 0);
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.ended.note(&result);
        if result.is_ok() && room && buffer.filled().len() == before {
            self.ended.0.get_or_init(|| Fault::new(Reason::Closed, "closed by the peer"));
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(context, buffer));
        self.ended.note(&result);
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.ended.note(&result);
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

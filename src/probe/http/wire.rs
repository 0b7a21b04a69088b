//! The bytes under an HTTP library: plain or TLS, watched on their way in.
//!
//! A library tells when it understood a response; the watch tells when its first bytes arrived
//! and how the transport ended. Knows no requests.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::failure::{Fault, Reason};
use crate::net::{Stamps, Stream};
use crate::tls::io_fault;

/// A connection that an HTTP library owns.
///
/// It is never half-closed: the library's shutdown does nothing and dropping it closes it, so
/// that the peer can end first and keep the TIME_WAIT.
#[derive(Debug)]
pub(in crate::probe) struct Wire {
    inner: Inner,
    watch: Watch,
    frames: Option<Frames>,
}

#[derive(Debug)]
enum Inner {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

/// What the probe can ask of a [`Wire`] that a library owns.
#[derive(Debug, Clone)]
pub(in crate::probe) struct Watch {
    stamps: Stamps,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    first: Option<Instant>,
    ended: Option<Fault>,
}

impl Wire {
    /// A connection without TLS.
    pub(in crate::probe) fn plain(stream: Stream) -> Self {
        let stamps = stream.stamps();
        Self::new(Inner::Plain(stream), stamps)
    }

    /// A connection after its handshake.
    pub(in crate::probe) fn tls(stream: TlsStream<Stream>) -> Self {
        let stamps = stream.get_ref().0.stamps();
        Self::new(Inner::Tls(Box::new(stream)), stamps)
    }

    fn new(inner: Inner, stamps: Stamps) -> Self {
        let watch = Watch { stamps, seen: Arc::default() };
        Self { inner, watch, frames: None }
    }

    /// From here on the peer speaks HTTP/2: its settings and window updates are no reply.
    pub(in crate::probe) fn watch_frames(&mut self) {
        self.frames = Some(Frames::default());
    }

    /// A handle on the connection's times and its end.
    pub(in crate::probe) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    fn note(&mut self, result: &io::Result<()>, bytes: &[u8], room: bool) {
        match result {
            Ok(()) if !bytes.is_empty() => {
                let reply = match &mut self.frames {
                    Some(frames) => frames.begin_headers(bytes),
                    None => true,
                };
                if reply {
                    self.watch.note_reply();
                }
            }
            Ok(()) if room => self.watch.note_end(Fault::new(Reason::Closed, "closed by the peer")),
            Ok(()) => {}
            Err(error) => self.watch.note_end(io_fault(error)),
        }
    }
}

impl Watch {
    /// Starts a new exchange: [`Self::first_reply`] will be of what comes after now.
    pub(in crate::probe) fn mark(&self) {
        self.stamps.mark();
        self.seen().first = None;
    }

    /// When the first bytes of the response reached this machine: of the read that brought
    /// them, decrypted if need be. A TLS session ticket or an HTTP/2 setting is no response.
    pub(in crate::probe) fn first_reply(&self) -> Option<Instant> {
        self.seen().first
    }

    /// How the transport ended, if it did.
    pub(in crate::probe) fn ended(&self) -> Option<Fault> {
        self.seen().ended.clone()
    }

    /// Times and counters of the socket.
    pub(in crate::probe) fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    fn note_reply(&self) {
        let mut seen = self.seen();
        if seen.first.is_none() {
            seen.first = self.stamps.last_read();
        }
    }

    fn note_end(&self, fault: Fault) {
        self.seen().ended.get_or_insert(fault);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic while it is held")
    }
}

/// Walks over HTTP/2 frame headers (RFC 9113, section 4.1) without looking into payloads.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; Self::HEADER],
    filled: usize,
    payload: usize,
}

impl Frames {
    const HEADER: usize = 9;
    const HEADERS: u8 = 0x1;

    /// Whether a HEADERS frame begins in `bytes`, which follow those of the last call.
    fn begin_headers(&mut self, mut bytes: &[u8]) -> bool {
        let mut found = false;
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = self.payload.min(bytes.len());
                self.payload -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (Self::HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == Self::HEADER {
                let [high, middle, low, kind, ..] = self.header;
                self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.filled = 0;
                found |= kind == Self::HEADERS;
            }
        }
        found
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining() > 0;
        let result = ready!(match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Inner::Tls(stream) => poll_record(stream, context, buffer),
        });
        self.note(&result, &buffer.filled()[before..], room);
        Poll::Ready(result)
    }
}

/// Reads what is decrypted, or else no more than it takes to decrypt something, so that the last
/// read of the socket is the one that brought it.
fn poll_record(
    stream: &mut TlsStream<Stream>,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let mut stream = Pin::new(stream);
    let decrypted = ready!(stream.as_mut().poll_fill_buf(context))?;
    let length = decrypted.len().min(buffer.remaining());
    buffer.put_slice(&decrypted[..length]);
    stream.consume(length);
    Poll::Ready(Ok(()))
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(context, buffer),
            Inner::Tls(stream) => Pin::new(stream).poll_write(context, buffer),
        });
        if let Err(error) = &result {
            self.watch.note_end(io_fault(error));
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(context),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(context),
        });
        if let Err(error) = &result {
            self.watch.note_end(io_fault(error));
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("short").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 0];
        bytes.resize(bytes.len() + payload, 0x1);
        bytes
    }

    #[test]
    fn settings_and_window_updates_are_no_reply() {
        let mut frames = Frames::default();
        assert!(!frames.begin_headers(&[frame(0x4, 18), frame(0x8, 4), frame(0x4, 0)].concat()));
        assert!(frames.begin_headers(&frame(0x1, 40)));
    }

    #[test]
    fn a_frame_header_may_be_split_anywhere() {
        let bytes = [frame(0x4, 6), frame(0x1, 30), frame(0x0, 5)].concat();
        let headers_type = Frames::HEADER + 6 + 8;
        for split in 0..=bytes.len() {
            let mut frames = Frames::default();
            let (left, right) = bytes.split_at(split);
            let found = (frames.begin_headers(left), frames.begin_headers(right));
            let complete = split > headers_type;
            assert_eq!(found, (complete, !complete), "split at {split}");
        }
    }
}

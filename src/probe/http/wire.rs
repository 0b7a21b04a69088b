//! The bytes under an HTTP library: plain, TLS or carried in a tunnel, watched on their way in.
//!
//! A library tells when it understood a response; the watch tells when its first bytes arrived
//! and how the transport ended. Knows no requests, and of a tunnel only what passes through it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::failure::{Fault, Reason};
use crate::net::{Stamps, Stream};
use crate::outcome::Http2Settings;
use crate::probe::http::fault::{transport_fault, untransported};
use crate::probe::http::frames::Frames;

/// Frames without data that a peer may send in one exchange; HEADERS weigh more, as each of them
/// is kept until it is read.
const IDLE_FRAMES: u32 = 10_000;
const HEADERS_WEIGH: u32 = 100;
/// Bytes that may wait for a flush; HTTP/2's preface, settings and first HEADERS fit in.
const WRITE_BUFFER: usize = 1024;

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
    /// What is written between two flushes goes into as few records, and packets, as it can.
    Tls(Box<BufWriter<TlsStream<Stream>>>),
    Carried(Pin<Box<dyn Carrier>>),
}

/// A stream within a connection that is itself watched.
pub(in crate::probe) trait Carrier:
    AsyncRead + AsyncWrite + Send + std::fmt::Debug
{
}

impl<T: AsyncRead + AsyncWrite + Send + std::fmt::Debug> Carrier for T {}

/// What the probe can ask of a [`Wire`] that a library owns.
#[derive(Debug, Clone)]
pub(in crate::probe) struct Watch {
    stamps: Stamps,
    seen: Arc<Mutex<Seen>>,
    /// Whether a reply is what the connection carries, instead of what it says itself.
    carried: bool,
}

#[derive(Debug, Default)]
struct Seen {
    first: Option<Instant>,
    first_carried: Option<Instant>,
    last_carried: Option<Instant>,
    carried_bytes: u64,
    /// Since the last mark: frames that carried nothing, by weight.
    idle: u32,
    settings: Option<Http2Settings>,
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
        Self::new(Inner::Tls(Box::new(BufWriter::with_capacity(WRITE_BUFFER, stream))), stamps)
    }

    /// A stream in the tunnel that `outer` watches.
    pub(in crate::probe) fn carried(carrier: impl Carrier + 'static, outer: &Watch) -> Self {
        let watch = Watch { carried: true, ..outer.clone() };
        Self { inner: Inner::Carried(Box::pin(carrier)), watch, frames: None }
    }

    fn new(inner: Inner, stamps: Stamps) -> Self {
        let watch = Watch { stamps, seen: Arc::default(), carried: false };
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

    /// Notes what a read gave; the fault is that of a peer that floods.
    fn note(&mut self, result: &io::Result<()>, bytes: &[u8], room: bool) -> Option<Fault> {
        // What a tunnel carries was noted when it reached this machine.
        if self.watch.carried {
            return None;
        }
        match result {
            Ok(()) if !bytes.is_empty() => match &mut self.frames {
                Some(frames) => return self.watch.note_frames(frames, bytes),
                None => self.watch.note_reply(),
            },
            Ok(()) if room => self.watch.note_end(Fault::new(Reason::Closed, "closed by the peer")),
            Ok(()) => {}
            Err(error) => self.watch.note_end(transport_fault(error)),
        }
        None
    }
}

impl Watch {
    /// Starts a new exchange: [`Self::first_reply`] will be of what comes after now.
    pub(in crate::probe) fn mark(&self) {
        self.stamps.mark();
        let mut seen = self.seen();
        (seen.first, seen.first_carried, seen.last_carried, seen.idle) = (None, None, None, 0);
    }

    /// When the first bytes of the response reached this machine: of the read that brought
    /// them, decrypted if need be. A TLS session ticket or an HTTP/2 setting is no response.
    pub(in crate::probe) fn first_reply(&self) -> Option<Instant> {
        let seen = self.seen();
        if self.carried { seen.first_carried } else { seen.first }
    }

    /// When the last bytes of the response so far reached this machine.
    pub(in crate::probe) fn last_reply(&self) -> Option<Instant> {
        if self.carried { self.seen().last_carried } else { self.stamps.last_read() }
    }

    /// Bytes that the streams of an HTTP/2 connection have brought so far.
    pub(in crate::probe) fn carried_bytes(&self) -> u64 {
        self.seen().carried_bytes
    }

    /// What an HTTP/2 peer opened the connection with, once it sent any of it.
    pub(in crate::probe) fn settings(&self) -> Option<Http2Settings> {
        self.seen().settings
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

    fn note_frames(&self, frames: &mut Frames, bytes: &[u8]) -> Option<Fault> {
        let passed = frames.look(bytes);
        if passed.headers > 0 {
            self.note_reply();
        }
        let mut seen = self.seen();
        if passed.data > 0 {
            seen.last_carried = self.stamps.last_read();
            seen.first_carried = seen.first_carried.or(seen.last_carried);
            seen.carried_bytes += passed.data as u64;
        }
        seen.settings = frames.settings();
        seen.idle += passed.idle + passed.headers * HEADERS_WEIGH;
        let flood = (seen.idle > IDLE_FRAMES).then(|| {
            Fault::new(Reason::HttpMalformed, "a flood of HTTP/2 frames that carry nothing")
        });
        if let Some(fault) = &flood {
            seen.ended.get_or_insert_with(|| fault.clone());
        }
        flood
    }

    fn note_end(&self, fault: Fault) {
        // The end of what is carried is not that of the connection.
        if !self.carried {
            self.seen().ended.get_or_insert(fault);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic while it is held")
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
            Inner::Tls(stream) => poll_record(stream.get_mut(), context, buffer),
            Inner::Carried(stream) => stream.as_mut().poll_read(context, buffer),
        });
        let flood = self.note(&result, &buffer.filled()[before..], room);
        Poll::Ready(flood.map_or(result, |fault| Err(untransported(fault))))
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
            Inner::Carried(stream) => stream.as_mut().poll_write(context, buffer),
        });
        if let Err(error) = &result {
            self.watch.note_end(transport_fault(error));
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(context),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(context),
            Inner::Carried(stream) => stream.as_mut().poll_flush(context),
        });
        if let Err(error) = &result {
            self.watch.note_end(transport_fault(error));
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

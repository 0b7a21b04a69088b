//! A TCP connection that remembers when its bytes really moved.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::getsockopt;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::net::TcpInfo;
use crate::net::kernel_stamp::{self, Received};
use crate::outcome::TcpFacts;

/// A fresh TCP connection whose reads carry the kernel's receive timestamps.
///
/// The probe keeps its [`Stream::stamps`] while a library owns the stream.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
}

/// What the probe can still ask of a connection that a library owns.
#[derive(Debug, Clone)]
pub struct Stamps {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: TcpStream,
    opened: Instant,
    connect_time: Duration,
    /// Nanoseconds since `opened`, plus one; 0 is "never".
    marked: AtomicU64,
    first_read: AtomicU64,
    last_read: AtomicU64,
    first_write: AtomicU64,
    received: AtomicU64,
}

impl Stream {
    /// Takes over a socket whose connect took `waited` by our own clock.
    pub(super) fn new(socket: TcpStream, waited: Duration) -> Self {
        kernel_stamp::enable(&socket);
        let connect_time = handshake_time(&socket).filter(|kernel| *kernel < waited);
        Self {
            shared: Arc::new(Shared {
                socket,
                opened: Instant::now(),
                connect_time: connect_time.unwrap_or(waited),
                marked: AtomicU64::new(0),
                first_read: AtomicU64::new(0),
                last_read: AtomicU64::new(0),
                first_write: AtomicU64::new(0),
                received: AtomicU64::new(0),
            }),
        }
    }

    /// A handle on the connection's times and counters.
    pub fn stamps(&self) -> Stamps {
        Stamps { shared: Arc::clone(&self.shared) }
    }
}

impl Stamps {
    /// First SYN to SYN-ACK, as the kernel measured it, without our own wait for the CPU.
    pub fn connect_time(&self) -> Duration {
        self.shared.connect_time
    }

    /// Starts a new exchange: [`Self::first_read`] will be the first byte after now.
    pub fn mark(&self) {
        self.shared.first_read.store(0, Ordering::Relaxed);
        self.shared.first_write.store(0, Ordering::Relaxed);
        self.shared.marked.store(self.shared.since_opened(Instant::now()), Ordering::Relaxed);
    }

    /// When the first byte since the last mark reached this machine.
    pub fn first_read(&self) -> Option<Instant> {
        self.shared.at(&self.shared.first_read)
    }

    /// When the last byte so far reached this machine.
    pub fn last_read(&self) -> Option<Instant> {
        self.shared.at(&self.shared.last_read)
    }

    /// When the first write since the last mark was handed to the kernel.
    pub fn first_write(&self) -> Option<Instant> {
        self.shared.at(&self.shared.first_write)
    }

    /// Bytes received since the connection was opened.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// `TCP_INFO` of now; `None` when the kernel does not tell.
    pub fn tcp_facts(&self) -> Option<TcpFacts> {
        let info = getsockopt(&self.shared.socket, TcpInfo).ok()?;
        Some(TcpFacts {
            rtt: Duration::from_micros(info.tcpi_rtt.into()),
            retransmits: info.tcpi_total_retrans,
        })
    }

    /// This side's address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.shared.socket.local_addr().ok()
    }
}

/// The round trip of the handshake: the kernel's only sample so far on a fresh connection. Not
/// known when a SYN had to be sent again.
fn handshake_time(socket: &TcpStream) -> Option<Duration> {
    let info = getsockopt(socket, TcpInfo).ok()?;
    let sampled = info.tcpi_total_retrans == 0 && info.tcpi_rtt > 0;
    sampled.then(|| Duration::from_micros(info.tcpi_rtt.into()))
}

impl Shared {
    fn since_opened(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.opened).as_nanos() as u64 + 1
    }

    fn at(&self, stamp: &AtomicU64) -> Option<Instant> {
        match stamp.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(self.opened + Duration::from_nanos(nanos - 1)),
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = kernel_stamp::receive(&self.socket, buffer)?;
        if received.bytes > 0 {
            self.note_read(&received);
        }
        Ok(received.bytes)
    }

    fn note_read(&self, received: &Received) {
        let now = Instant::now();
        let mut nanos = self.since_opened(now);
        if let Some(age) = received.age() {
            // The wall clock may step: a stamp from before the last mark or write is not used.
            let floor =
                self.marked.load(Ordering::Relaxed).max(self.first_write.load(Ordering::Relaxed));
            let stamped = nanos.saturating_sub(age.as_nanos() as u64);
            if stamped >= floor.max(1) {
                nanos = stamped;
            }
        }
        self.received.fetch_add(received.bytes as u64, Ordering::Relaxed);
        self.last_read.fetch_max(nanos, Ordering::Relaxed);
        let _ = self.first_read.compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn note_write(&self, before: Instant) {
        let nanos = self.since_opened(before);
        let _ = self.first_write.compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shared = &self.shared;
        loop {
            ready!(shared.socket.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            let mut drained = 0;
            let result = shared.socket.try_io(Interest::READABLE, || {
                let bytes = shared.receive(unfilled)?;
                if (1..unfilled.len()).contains(&bytes) {
                    // A short read emptied the socket: saying so now saves the read that would
                    // only find out, and what arrives later makes it ready again (epoll(7), Q9).
                    drained = bytes;
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(bytes)
            });
            match result {
                Ok(bytes) => buffer.advance(bytes),
                Err(_) if drained > 0 => buffer.advance(drained),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let shared = &self.shared;
        loop {
            ready!(shared.socket.poll_write_ready(context))?;
            let before = Instant::now();
            match shared.socket.try_write(buffer) {
                Ok(bytes) => {
                    shared.note_write(before);
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&self.shared.socket).shutdown(std::net::Shutdown::Write))
    }
}

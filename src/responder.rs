//! The endpoint that peers probe: says who answered and which source address it saw.
//!
//! Speaks HTTP/1.1 and h2c on plain TCP; inside the mesh the node's ztunnel adds the TLS. Bounded
//! in connections, bodies, rate and time, so that whoever reaches it cannot hurt the agent. Never
//! queues: what it cannot serve at once it rejects, or its wait would be measured as the
//! network's. Knows nothing of probes and metrics; [`ResponderStats`] is read by others.

mod answer;
mod body;
mod bucket;
mod stats;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Identity, ResponderConfig};
use crate::net;
use answer::Answerer;
pub use stats::{ResponderCounts, ResponderStats};

/// A connection has this long for its first request, or `idle_timeout` if that is shorter.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests under way may go on after a connection is told to end.
const GRACE: Duration = Duration::from_secs(1);

/// Pause of the accept loop when the machine has no more file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: u32 = 16 * 1024;
const MAX_STREAMS: u32 = 32;
/// Bytes that a peer may have on the way over one h2 connection before they are read.
const H2_WINDOW: u32 = 64 * 1024;

/// An address that the responder cannot listen on.
#[derive(Debug, thiserror::Error)]
#[error("responder cannot listen on {address}")]
pub struct BindError {
    /// The configured address.
    pub address: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

/// A bound responder that does not accept yet.
#[derive(Debug)]
pub struct Responder {
    listeners: Vec<TcpListener>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    answerer: Answerer,
    stats: Arc<ResponderStats>,
    connections: Arc<Semaphore>,
    idle_timeout: Duration,
    http: auto::Builder<TokioExecutor>,
}

impl Responder {
    /// Listens on every configured address, all or none. Must be called within a tokio runtime.
    ///
    /// `[::]` serves IPv4 too, unless an IPv4 address with the same port is listed beside it.
    pub fn bind(config: &ResponderConfig, identity: &Identity) -> Result<Self, BindError> {
        let listeners = net::listen(&config.listen)
            .map_err(|(address, source)| BindError { address, source })?;
        let stats = Arc::new(ResponderStats::default());
        Ok(Self {
            listeners,
            shared: Arc::new(Shared {
                answerer: Answerer::new(config, identity, Arc::clone(&stats)),
                stats,
                connections: Arc::new(Semaphore::new(config.max_connections as usize)),
                idle_timeout: config.idle_timeout,
                http: http(),
            }),
        })
    }

    /// The addresses that are listened on, in configured order, with the ports that 0 became.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound socket");
        self.listeners.iter().map(address).collect()
    }

    /// A handle on the counters; stays valid after [`Self::serve`] took the responder.
    pub fn stats(&self) -> Arc<ResponderStats> {
        Arc::clone(&self.shared.stats)
    }

    /// Answers until `shutdown`, then ends within about a second: held connections are closed,
    /// requests under way are finished.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        // Ends the tasks also when this future is dropped half way.
        let guard = stop.clone().drop_guard();
        let tasks = TaskTracker::new();
        for listener in self.listeners {
            let shared = Arc::clone(&self.shared);
            tasks.spawn(accept(listener, shared, tasks.clone(), stop.clone()));
        }
        tasks.close();
        shutdown.await;
        drop(guard);
        tasks.wait().await;
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // The connection's own deadline covers slow headers, also before the version is known.
    http.http1()
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES as usize);
    http.http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(H2_WINDOW);
    http
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(pair) => pair,
            Err(_) => {
                shared.stats.accept_error();
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&shared.connections).try_acquire_owned() {
            Ok(permit) => {
                let connection = hold(stream, peer, Arc::clone(&shared), permit, stop.clone());
                tasks.spawn(connection);
            }
            // Dropping the stream closes it.
            Err(_) => shared.stats.rejected_connection(),
        }
    }
}

/// Serves one connection until it ends, or no request came in time, or the responder stops.
async fn hold(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let _open = shared.stats.connection();
    let _permit = permit;
    // Only costs latency if it fails.
    let _ = stream.set_nodelay(true);
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let deadline = Deadline::new(shared.idle_timeout.min(FIRST_REQUEST_TIMEOUT));
    let service = service_fn(|request| {
        deadline.extend(shared.idle_timeout);
        let shared = Arc::clone(&shared);
        async move { shared.answerer.answer(request, peer).await }
    });
    let mut connection = pin!(shared.http.serve_connection(TokioIo::new(stream), service));
    loop {
        let due = deadline.at();
        tokio::select! {
            // A peer that broke off or spoke nonsense is its own business.
            _ = connection.as_mut() => return,
            () = stop.cancelled() => break,
            () = sleep_until(due) => if deadline.at() == due { break },
        }
    }
    connection.as_mut().graceful_shutdown();
    // What is still under way after the grace is cut off.
    let _ = timeout_at(Instant::now() + GRACE, connection).await;
}

/// When a connection ends unless another request comes.
///
/// One rule bounds a silent peer, slow headers, a slow body and a peer that does not read.
struct Deadline(Mutex<Instant>);

impl Deadline {
    fn new(timeout: Duration) -> Self {
        Self(Mutex::new(Instant::now() + timeout))
    }

    fn at(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, timeout: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + timeout;
    }
}

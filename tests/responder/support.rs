//! A running responder, and peers that speak to it byte by byte or through hyper.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use meshprobe::config::{Identity, ResponderConfig};
use meshprobe::net::{self, Stream};
use meshprobe::responder::{Responder, ResponderStats};
use meshprobe::target::Vantage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Nothing that works takes this long, on the busiest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stats: Arc<ResponderStats>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) serving: JoinHandle<()>,
}

/// Wide bounds; tests narrow the one that they are about.
pub(crate) fn config() -> ResponderConfig {
    ResponderConfig {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        max_connections: 1000,
        max_body: 64 * 1024,
        max_requests_per_second: 100_000,
        idle_timeout: PATIENCE,
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        node: "node-a".to_owned(),
        zone: Some("zone-1".to_owned()),
        vantage: Some(Vantage::Ambient),
    }
}

pub(crate) fn start(config: &ResponderConfig) -> Running {
    start_as(config, &identity())
}

pub(crate) fn start_as(config: &ResponderConfig, identity: &Identity) -> Running {
    let responder = Responder::bind(config, identity).expect("loopback has ports");
    let address = responder.local_addrs()[0];
    let stats = responder.stats();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(responder.serve(async {
        let _ = stopped.await;
    }));
    Running { address, stats, stop, serving }
}

/// Bounds a test's own waiting; panics with `what` when it takes too long.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let result = timeout_at(deadline, work).await;
    result.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(crate) async fn connect(address: SocketAddr) -> Stream {
    net::connect(address).await.expect("a listening responder")
}

/// Sends `bytes` on a connection of its own and reads until the responder ends it.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address).await;
    stream.write_all(bytes).await.expect("an open connection");
    rest(&mut stream).await
}

/// Everything until the end of the connection, be it orderly or not.
pub(crate) async fn rest(stream: &mut Stream) -> String {
    let mut seen = Vec::new();
    within("the end of the connection", async {
        while !matches!(stream.read_buf(&mut seen).await, Ok(0) | Err(_)) {}
    })
    .await;
    String::from_utf8_lossy(&seen).into_owned()
}

/// An HTTP/1.1 connection that is kept.
pub(crate) async fn http1(address: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(connect(address).await);
    let (sender, connection) = http1::handshake(io).await.expect("an open connection");
    tokio::spawn(connection);
    sender
}

/// An HTTP/2 connection with prior knowledge.
pub(crate) async fn h2c(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(connect(address).await);
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), io).await.expect("an open connection");
    tokio::spawn(connection);
    sender
}

pub(crate) fn request(method: &str, path: &str, body: &[u8]) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("http://responder{path}"))
        .body(Full::new(Bytes::copy_from_slice(body)))
        .expect("a good request")
}

/// Status and headers of a response, and its whole body.
pub(crate) async fn whole<B>(response: Response<B>) -> (http::response::Parts, Vec<u8>)
where
    B: hyper::body::Body,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    let collected = within("the body", body.collect()).await;
    let body = collected.expect("a whole body").to_bytes().to_vec();
    (parts, body)
}

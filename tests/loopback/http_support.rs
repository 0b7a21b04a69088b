//! Web servers good and bad, and how tests ask them.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use meshprobe::expectation::Expectation;
use meshprobe::failure::Reason;
use meshprobe::outcome::Outcome;
use meshprobe::probe::Probe;
use meshprobe::spec::{HoldModule, TlsSettings};
use meshprobe::spec::{HttpModule, HttpVersion, IpPreference, Module, ModuleKind, Timeouts};
use regex::bytes::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{TIMEOUT, environment, reset, server};

/// Never met by a server that answers, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// GET, HTTP/1.1 or what ALPN gives, one response as it is.
pub(crate) fn module() -> HttpModule {
    HttpModule {
        method: http::Method::GET,
        headers: Vec::new(),
        body: None,
        version: HttpVersion::Auto,
        body_regex: None,
        body_limit: 1024 * 1024,
        redirects: 0,
        decompress: false,
        keepalive: false,
        tls: TlsSettings::default(),
        ip: IpPreference::default(),
    }
}

pub(crate) fn h2c() -> HttpModule {
    HttpModule { version: HttpVersion::Http2, ..module() }
}

pub(crate) fn prepare(kind: ModuleKind, url: &str, timeouts: Timeouts) -> Probe {
    let spec = Module { kind, timeouts, expect: Expectation::Reply }.aim(url).expect("a good URL");
    Probe::prepare(&spec, &environment()).expect("good files")
}

/// A probe whose deadlines play no part.
pub(crate) fn probe(module: HttpModule, url: impl ToString) -> Probe {
    prepare(ModuleKind::Http(module), &url.to_string(), Timeouts::total(PATIENCE))
}

/// Asks once, with deadlines that play no part.
pub(crate) async fn ask(module: HttpModule, url: impl ToString) -> Outcome {
    probe(module, url).attempt().await
}

/// Asks until a deadline is met while this machine is not too busy to notice in time.
pub(crate) async fn ask_briefly(module: HttpModule, url: impl ToString) -> Outcome {
    let kind = ModuleKind::Http(module);
    briefly(prepare(kind, &url.to_string(), Timeouts::total(TIMEOUT))).await
}

pub(crate) async fn briefly(probe: Probe) -> Outcome {
    loop {
        let outcome = probe.attempt().await;
        let lagged = outcome.failure.as_ref().map(|f| f.reason) == Some(Reason::ScheduleLag);
        if !lagged {
            return outcome;
        }
    }
}

/// A hold whose first heartbeat and whose whole may take `timeout` and `hold` longer.
pub(crate) fn hold(address: SocketAddr, heartbeat: Duration, hold: Duration) -> Probe {
    hold_within(address, heartbeat, hold, Timeouts::total(PATIENCE))
}

pub(crate) fn hold_within(
    address: SocketAddr,
    heartbeat: Duration,
    hold: Duration,
    timeouts: Timeouts,
) -> Probe {
    let module =
        HoldModule { heartbeat, hold, tls: TlsSettings::default(), ip: IpPreference::default() };
    prepare(ModuleKind::Hold(module), &address.to_string(), timeouts)
}

pub(crate) fn matching(module: HttpModule, regex: &str) -> HttpModule {
    HttpModule { body_regex: Some(Regex::new(regex).expect("valid")), ..module }
}

pub(crate) fn status_of(outcome: &Outcome) -> u16 {
    assert_eq!(outcome.failure, None);
    outcome.facts.http.as_ref().expect("a response").status
}

pub(crate) fn text(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(body.into()))
}

/// A good server that speaks HTTP/1.1 and HTTP/2.
pub(crate) async fn good<F, Fut>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    server(move |stream| serve(TokioIo::new(stream), answer.clone())).await
}

/// Serves one connection until it ends, in the version that the client speaks.
pub(crate) async fn serve<I, F, Fut>(io: I, answer: F)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(io, service_fn(infallible(answer))).await;
}

/// Serves one connection over HTTP/2 until it ends.
pub(crate) async fn serve_http2<I, F, Fut>(io: I, answer: F)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(io, service_fn(infallible(answer))).await;
}

fn infallible<F, Fut>(
    answer: F,
) -> impl Fn(Request<Incoming>) -> BoxFuture<Result<Response<Full<Bytes>>, Infallible>> + Clone
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    move |request| {
        let answer = answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// How a scripted server ends a connection.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Fin,
    Reset,
    Never,
}

impl End {
    pub(crate) async fn apply(self, mut stream: TcpStream) {
        match self {
            Self::Fin => {
                let _ = stream.shutdown().await;
            }
            Self::Reset => reset(stream),
            Self::Never => std::future::pending().await,
        }
    }
}

/// Reads one request head, answers `reply` as it stands, and ends.
pub(crate) async fn scripted(reply: impl Into<Vec<u8>>, end: End) -> SocketAddr {
    let reply = reply.into();
    server(move |mut stream| {
        let reply = reply.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(&reply).await;
            end.apply(stream).await;
        }
    })
    .await
}

/// Everything up to the empty line after a request head; less if the client ends first.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).expect("requests are ASCII")
}

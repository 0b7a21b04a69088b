//! Servers that misbehave on purpose, and how tests run a probe against them.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{Module, ModuleKind, Timeouts};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Long enough that only a server that never answers meets it.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(400);

/// A server on loopback that gives each connection to `serve`; it ends with the test's runtime.
pub(crate) async fn server<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Ends `stream` with RST instead of FIN.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("a connected socket");
}

/// An address on loopback where nothing listens.
pub(crate) async fn refused_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    listener.local_addr().expect("bound")
}

/// An address on loopback that drops SYNs, as long as what comes with it lives.
pub(crate) async fn dropping_syns() -> (SocketAddr, impl Sized) {
    // A listener whose backlog is full drops further SYNs.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("valid")).expect("loopback has ports");
    let listener = socket.listen(0).expect("bound");
    let address = listener.local_addr().expect("bound");
    let mut queued = Vec::new();
    for _ in 0..4 {
        let socket = TcpSocket::new_v4().expect("a socket");
        queued.push(Box::pin(socket.connect(address)));
        let _ = poll_once(queued.last_mut().expect("just pushed")).await;
    }
    (address, (listener, queued))
}

/// Starts `future` without waiting for it.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *future).poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

pub(crate) fn environment() -> Environment {
    Environment::default()
}

/// Aims `kind` at `address` and executes it once.
pub(crate) async fn attempt(kind: ModuleKind, expect: Expectation, address: &str) -> Outcome {
    let module = Module { kind, timeouts: Timeouts::total(TIMEOUT), expect };
    let spec = module.aim(address).expect("a good address");
    let probe = Probe::prepare(&spec, &environment()).expect("good files");
    probe.attempt().await
}

#[track_caller]
pub(crate) fn assert_failed(outcome: &Outcome, phase: Phase, reason: Reason) {
    let failure = outcome.failure.as_ref().expect("the attempt must fail");
    assert_eq!((failure.phase, failure.reason), (phase, reason), "{failure}");
}

//! A listener and whoever dials it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use meshprobe::channel::{Bounds, Dialer, Fault, Key, Listener, Peer, Service};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// More than anything on loopback takes.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// A key of `letter`s.
pub(crate) fn key(letter: char) -> Key {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), letter.to_string().repeat(44)).expect("writable");
    load(file.path())
}

pub(crate) fn load(path: &Path) -> Key {
    Key::load(path).expect("a key")
}

pub(crate) fn listener(key: Option<&Key>) -> (Listener, SocketAddr) {
    bounded(key, Bounds::default())
}

pub(crate) fn bounded(key: Option<&Key>, bounds: Bounds) -> (Listener, SocketAddr) {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(free, key, bounds).expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// A listener that answers with `service` until its token is cancelled, and its address.
pub(crate) fn serving<S: Service>(
    key: Option<&Key>,
    service: S,
) -> (CancellationToken, SocketAddr) {
    let (listener, address) = listener(key);
    let stop = CancellationToken::new();
    tokio::spawn(listener.run(service, stop.clone()));
    (stop, address)
}

pub(crate) async fn dial(address: SocketAddr, key: Option<&Key>) -> Result<Peer, Fault> {
    Dialer::new().expect("a socket").dial(address, key, soon()).await
}

/// A listener's side and a dialler's side of one connection; the listener must be kept.
pub(crate) async fn pair() -> (Listener, Peer, Peer) {
    let (mut listener, address) = listener(Some(&key('k')));
    let dialled = dial(address, Some(&key('k'))).await.expect("the same key");
    let accepted = listener.accept().await.expect("open").expect("the same key");
    (listener, accepted, dialled)
}

pub(crate) fn get(path: &str) -> Request<Bytes> {
    Request::get(path).body(Bytes::new()).expect("a request")
}

pub(crate) fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}

/// Answers with the path that was asked for.
pub(crate) async fn echo(_: Peer, request: Request<Bytes>) -> Response<Bytes> {
    reply(StatusCode::OK, request.uri().path().to_owned())
}

pub(crate) fn serve<S: Service>(peer: &Peer, service: S) -> CancellationToken {
    let stop = CancellationToken::new();
    let (peer, stopped) = (peer.clone(), stop.clone());
    tokio::spawn(async move { peer.serve(service, stopped).await });
    stop
}

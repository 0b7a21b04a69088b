//! One connection of an istiod: TLS, HTTP/2, and the gRPC methods in it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::encoding::{WireType, encode_key, encode_varint};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

use super::condition::{Answers, Connection, Http2, Xds};
use super::{Prepared, Shared, discovery, signing};
use crate::istiod::messages::{CREATE_CERTIFICATE, DELTA_RESOURCES};

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes that belong to no protocol.
const GARBAGE: &[u8] = b"\x00\xff istiod? There is none here.\r\n\r\n\x00\xff\xff\xff\xff\xff\xff";
/// The resource that is too large, bytes.
const HUGE: u64 = 100 << 20;
/// Sent at once of it.
const CHUNK: usize = 64 * 1024;
const MAX_STREAMS: u32 = 100;

type Current = watch::Receiver<Arc<Prepared>>;

/// Serves `stream` until it ends.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>, mut current: Current) {
    // Only costs latency if it fails.
    let _ = stream.set_nodelay(true);
    let prepared = Arc::clone(&current.borrow_and_update());
    match prepared.condition.connection {
        Connection::Serves => {}
        Connection::Garbage => {
            return garble(stream).await;
        }
        Connection::Silent => return changed(current).await,
        Connection::Refused | Connection::Dropped => return,
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&prepared.tls));
    let shaken = timeout_at(Instant::now() + HANDSHAKE, acceptor.accept(stream)).await;
    let Ok(Ok(tls)) = shaken else { return };
    match prepared.condition.http2 {
        Http2::Speaks => {}
        Http2::Silent => return changed(current).await,
        Http2::Garbage => {
            return garble(tls).await;
        }
    }
    let service = service_fn(move |request| answer(Arc::clone(&shared), current.clone(), request));
    let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    http.max_concurrent_streams(MAX_STREAMS);
    // A client that broke off is its own business.
    let _ = http.serve_connection(TokioIo::new(tls), service).await;
}

/// Says nonsense, and listens until the other side has heard it and goes.
async fn garble(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let heard = async {
        stream.write_all(GARBAGE).await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = timeout_at(Instant::now() + HANDSHAKE, heard).await;
}

/// Until the condition is another one.
async fn changed(mut current: Current) {
    let _ = current.changed().await;
}

async fn answer(
    shared: Arc<Shared>,
    current: Current,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, Infallible> {
    let condition = current.borrow().condition.clone();
    match condition.answers {
        Answers::Given => {}
        // Discovery opens its stream, and is silent in it.
        Answers::Silent if request.uri().path() == DELTA_RESOURCES => {}
        Answers::Silent => return std::future::pending().await,
        Answers::Garbage => return Ok(grpc(framed(Bytes::from_static(&[0xff; 32])))),
        Answers::NotGrpc => return Ok(not_grpc()),
    }
    let response = match request.uri().path() {
        CREATE_CERTIFICATE => {
            let called = Call(|request| {
                let shared = Arc::clone(&shared);
                async move {
                    let answer = signing::create(&shared, condition.ca, request).await;
                    shared.counts.signed(answer.is_ok());
                    answer
                }
            });
            Grpc::new(ProstCodec::default()).unary(called, request).await
        }
        DELTA_RESOURCES if condition.xds == Xds::Huge => grpc(huge(&shared)),
        DELTA_RESOURCES => {
            let called = Call(|request| {
                shared.counts.streamed();
                discovery::open(Arc::clone(&shared), current.clone(), request)
            });
            Grpc::new(ProstCodec::default()).streaming(called, request).await
        }
        _ => tonic::Status::unimplemented("no such method").into_http(),
    };
    Ok(response)
}

/// A function as tonic's servers want it.
struct Call<F>(F);

impl<F, Fut, Q, R> tonic::codegen::Service<tonic::Request<Q>> for Call<F>
where
    F: FnMut(tonic::Request<Q>) -> Fut,
    Fut: Future<Output = Result<tonic::Response<R>, tonic::Status>> + Send + 'static,
{
    type Response = tonic::Response<R>;
    type Error = tonic::Status;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), tonic::Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Q>) -> Fut {
        (self.0)(request)
    }
}

fn grpc(body: Body) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    response
}

fn not_grpc() -> http::Response<Body> {
    let page = Bytes::from_static(b"<html><body>404 page not found</body></html>\n");
    let mut response = http::Response::new(Body::new(http_body_util::Full::new(page)));
    *response.status_mut() = http::StatusCode::NOT_FOUND;
    let html = http::HeaderValue::from_static("text/html");
    response.headers_mut().insert(http::header::CONTENT_TYPE, html);
    response
}

/// One gRPC message.
fn framed(message: Bytes) -> Body {
    let length = u32::try_from(message.len()).expect("a small message");
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    Body::new(http_body_util::Full::new(Bytes::from(bytes)))
}

/// One gRPC message of 100 MiB, made while it is read: a resource with a very long name.
fn huge(shared: &Arc<Shared>) -> Body {
    let field = |number: u32, length: u64| {
        let mut head = Vec::new();
        encode_key(number, WireType::LengthDelimited, &mut head);
        encode_varint(length, &mut head);
        head
    };
    let name = field(3, HUGE);
    let resource = field(2, name.len() as u64 + HUGE);
    let length = (resource.len() + name.len()) as u64 + HUGE;
    let mut head = vec![0];
    head.extend(u32::try_from(length).expect("100 MiB").to_be_bytes());
    head.extend(resource.into_iter().chain(name));
    let (chunks, body) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let sent = async move {
        let letters = Bytes::from_static(&[b'a'; CHUNK]);
        let mut next = Bytes::from(head);
        for _ in 0..=HUGE / CHUNK as u64 {
            if chunks.send(Ok(Frame::data(next))).await.is_err() {
                return;
            }
            next = letters.clone();
        }
        // Real streams stay open.
        chunks.closed().await;
    };
    shared.tasks.spawn(shared.stop.clone().run_until_cancelled_owned(sent));
    Body::new(StreamBody::new(ReceiverStream::new(body)))
}

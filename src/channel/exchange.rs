//! One HTTP/1.1 exchange over the two halves of a stream.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{client, server};
use hyper_util::rt::{TokioIo, TokioTimer};
use quinn::{RecvStream, SendStream};
use tokio::time::{Instant, timeout_at};

use crate::channel::bounds::{EXCHANGE_TIMEOUT, HEAD_LIMIT, HEAD_TIMEOUT, MAX_REQUEST_BODY};
use crate::channel::{Fault, Peer, fault};

/// What answers the other side; any `Fn(Peer, Request<Bytes>)` that gives a future is one.
///
/// The future is dropped when the other side no longer waits for it.
pub trait Service: Clone + Send + Sync + 'static {
    /// The answer to `request` of `peer`. Its body is complete, [`MAX_REQUEST_BODY`] at most.
    fn answer(
        &self,
        peer: Peer,
        request: Request<Bytes>,
    ) -> impl Future<Output = Response<Bytes>> + Send;
}

impl<F, A> Service for F
where
    F: Fn(Peer, Request<Bytes>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Bytes>> + Send,
{
    fn answer(
        &self,
        peer: Peer,
        request: Request<Bytes>,
    ) -> impl Future<Output = Response<Bytes>> + Send {
        self(peer, request)
    }
}

/// Sends `request` and reads its answer, whose body may have `most` bytes.
pub(super) async fn ask(
    (send, receive): (SendStream, RecvStream),
    request: Request<Bytes>,
    most: usize,
) -> Result<Response<Bytes>, Fault> {
    let mut request = request.map(Full::new);
    request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("meshprobe"));
    let io = TokioIo::new(tokio::io::join(receive, send));
    let (mut sender, connection) =
        client::conn::http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(io).await?;
    let mut exchange = pin!(async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, most).collect().await;
        let body = body.map_err(|error| fault::of_body(error, most))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    });
    // The connection moves the bytes. Its end says less than what it made of the exchange.
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}

/// Reads one request, and sends what `service` gives.
pub(super) async fn answer<S: Service>(
    (send, receive): (SendStream, RecvStream),
    peer: Peer,
    service: S,
) {
    let io = TokioIo::new(tokio::io::join(receive, send));
    let asked = service_fn(move |request| {
        let (peer, service) = (peer.clone(), service.clone());
        async move { Ok::<_, Infallible>(whole(request, peer, service).await.map(Full::new)) }
    });
    let exchange = server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(io, asked);
    // However it ends, the other side notices by itself.
    let _ = timeout_at(Instant::now() + EXCHANGE_TIMEOUT, exchange).await;
}

async fn whole<S: Service>(request: Request<Incoming>, peer: Peer, service: S) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    match Limited::new(body, MAX_REQUEST_BODY).collect().await {
        Ok(body) => service.answer(peer, Request::from_parts(head, body.to_bytes())).await,
        Err(_) => {
            let problem = format!("a request takes at most {MAX_REQUEST_BODY} bytes\n");
            let mut response = Response::new(Bytes::from(problem));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            let kind = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
    }
}

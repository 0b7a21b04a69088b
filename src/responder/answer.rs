//! What the responder answers to a request. Knows HTTP, not connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::{Identity, ResponderConfig};
use crate::responder::body::Reply;
use crate::responder::bucket::Bucket;
use crate::responder::stats::ResponderStats;
use crate::target::Vantage;

const NODE: HeaderName = HeaderName::from_static("x-meshprobe-node");
const VANTAGE: HeaderName = HeaderName::from_static("x-meshprobe-vantage");

/// What is sent there comes back.
const ECHO: &str = "/echo";

/// Bodies that are held in memory at once, over all connections.
const ECHOES_AT_ONCE: usize = 32;

/// How much of a rejected body is read and forgotten, bytes: closing on a peer that still sends
/// would reset the connection before it has read the 413.
const DISCARD_LIMIT: u64 = 1024 * 1024;

/// Answers requests in the name of one agent.
#[derive(Debug)]
pub(super) struct Answerer {
    identity: Identity,
    headers: HeaderMap,
    /// `max_body` zeros, shared by every answer that needs some.
    zeros: Bytes,
    max_body: u64,
    echoes: Arc<Semaphore>,
    bucket: Mutex<Bucket>,
    stats: Arc<ResponderStats>,
}

/// The body of `GET /`.
#[derive(Serialize)]
struct WhoAnswered<'a> {
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vantage: Option<Vantage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    remote_address: SocketAddr,
}

impl Answerer {
    pub(super) fn new(
        config: &ResponderConfig,
        identity: &Identity,
        stats: Arc<ResponderStats>,
    ) -> Self {
        let mut headers = HeaderMap::new();
        // Not every host name can be a header value; the body tells it anyway.
        if let Ok(node) = HeaderValue::from_str(&identity.node) {
            headers.insert(NODE, node);
        }
        if let Some(vantage) = identity.vantage {
            headers.insert(VANTAGE, HeaderValue::from_static(vantage.as_str()));
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let max_body = usize::try_from(config.max_body).unwrap_or(usize::MAX);
        Self {
            identity: identity.clone(),
            headers,
            zeros: Bytes::from(vec![0; max_body]),
            max_body: config.max_body,
            echoes: Arc::new(Semaphore::new(ECHOES_AT_ONCE)),
            bucket: Mutex::new(Bucket::new(config.max_requests_per_second, Instant::now())),
            stats,
        }
    }

    /// The response to `request` from `peer`; never an error, so that hyper never cuts off.
    ///
    /// The head of an echo goes first, as soon as the whole body is here.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Reply>, Infallible> {
        self.stats.request();
        let echo = request.uri().path() == ECHO;
        let mut response = if self.within_rate() {
            self.route(request, peer).await
        } else {
            self.too_many("more requests per second than this responder serves\n")
        };
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        Ok(response.map(|bytes| Reply::new(bytes, echo)))
    }

    fn within_rate(&self) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(Instant::now())
    }

    fn too_many(&self, text: &'static str) -> Response<Full<Bytes>> {
        self.stats.rejected_rate();
        let mut response = message(StatusCode::TOO_MANY_REQUESTS, text);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }

    async fn route(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/" if read => self.who(peer),
            ECHO if *request.method() == Method::POST => self.echo(request).await,
            "/" => not_allowed("GET, HEAD"),
            ECHO => not_allowed("POST"),
            path => match path.strip_prefix("/bytes/") {
                Some(count) if read => self.bytes(count),
                Some(_) => not_allowed("GET, HEAD"),
                None => message(StatusCode::NOT_FOUND, "there are /, /echo and /bytes/N\n"),
            },
        }
    }

    fn who(&self, peer: SocketAddr) -> Response<Full<Bytes>> {
        let who = WhoAnswered {
            node: &self.identity.node,
            vantage: self.identity.vantage,
            zone: self.identity.zone.as_deref(),
            remote_address: peer,
        };
        let mut json = serde_json::to_vec(&who).expect("strings and an address are JSON");
        json.push(b'\n');
        with_type(StatusCode::OK, "application/json", Full::new(Bytes::from(json)))
    }

    fn bytes(&self, count: &str) -> Response<Full<Bytes>> {
        match count.parse::<usize>() {
            Ok(count) if count <= self.zeros.len() => with_type(
                StatusCode::OK,
                "application/octet-stream",
                Full::new(self.zeros.slice(..count)),
            ),
            Ok(_) | Err(_) => message(
                StatusCode::BAD_REQUEST,
                "/bytes/N: N must be a number up to the responder's max_body\n",
            ),
        }
    }

    async fn echo(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Ok(permit) = Arc::clone(&self.echoes).try_acquire_owned() else {
            return self.too_many("more bodies at once than this responder holds\n");
        };
        // Whoever waits for `100 Continue` has sent nothing yet.
        let sends_already = !request.headers().contains_key(EXPECT);
        let mut body = request.into_body();
        if body.size_hint().lower() > self.max_body {
            if sends_already {
                discard(&mut body, 0).await;
            }
            return self.too_large();
        }
        let mut held = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return message(StatusCode::BAD_REQUEST, "the body broke off\n");
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = held.len() as u64 + data.len() as u64;
            if length > self.max_body {
                drop(held);
                discard(&mut body, length).await;
                return self.too_large();
            }
            held.extend_from_slice(&data);
        }
        // The memory itself owns the permit, so that it counts until the last byte is sent.
        let held = Bytes::from_owner(HeldBody { bytes: held, _permit: permit });
        with_type(StatusCode::OK, "application/octet-stream", Full::new(held))
    }

    fn too_large(&self) -> Response<Full<Bytes>> {
        self.stats.rejected_body();
        message(StatusCode::PAYLOAD_TOO_LARGE, "longer than the responder's max_body\n")
    }
}

struct HeldBody {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads and forgets what is left of a rejected body, up to the limit.
async fn discard(body: &mut Incoming, mut seen: u64) {
    while seen < DISCARD_LIMIT {
        let Some(Ok(frame)) = body.frame().await else {
            return;
        };
        seen += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

fn not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = message(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn message(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: Full<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

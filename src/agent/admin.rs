//! The admin server: `/metrics`, `/livez`, `/readyz`, `/v1/window`, `/v1/flows`, `/probe`.
//!
//! HTTP/1.1 only, GET and HEAD only, bounded in connections and header time. A request that is
//! wrong gets a 4xx and changes nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use ipnet::IpNet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::form_urlencoded;

use crate::agent::blackbox;
use crate::agent::flows::Flows;
use crate::config::AdminConfig;
use crate::metrics::{Exposition, Metrics};
use crate::net;
use crate::probe::Environment;
use crate::responder::ResponderStats;
use crate::spec::Module;
use crate::window::{AS_OF_HEADER, Window};

/// What `/probe` may ask, exchanged as a whole by a reload.
#[derive(Debug, Clone)]
pub(super) struct Questions {
    pub(super) modules: BTreeMap<String, Module>,
    pub(super) environment: Environment,
}

/// What the admin server tells about.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) probes: Semaphore,
    pub(super) networks: Vec<IpNet>,
    questions: RwLock<Arc<Questions>>,
    pub(super) metrics: Arc<Metrics>,
    window: Arc<Window>,
    flows: Arc<Flows>,
    in_flight: Arc<AtomicU32>,
    responder: Option<Arc<ResponderStats>>,
    ready: AtomicBool,
}

pub(super) type Reply = Response<Either<Full<Bytes>, Scrape>>;

impl Admin {
    pub(super) fn new(
        config: &AdminConfig,
        questions: Questions,
        metrics: Arc<Metrics>,
        (window, flows): (Arc<Window>, Arc<Flows>),
        in_flight: Arc<AtomicU32>,
        responder: Option<Arc<ResponderStats>>,
    ) -> Self {
        Self {
            probes: Semaphore::new(config.max_probes as usize),
            networks: config.probe_networks.clone(),
            questions: RwLock::new(Arc::new(questions)),
            metrics,
            window,
            flows,
            in_flight,
            responder,
            ready: AtomicBool::new(false),
        }
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub(super) fn ask(&self, questions: Questions) {
        *self.questions.write().expect("no panic while held") = Arc::new(questions);
    }

    pub(super) fn questions(&self) -> Arc<Questions> {
        Arc::clone(&self.questions.read().expect("no panic while held"))
    }

    pub(super) fn reloaded(&self, good: bool) {
        self.metrics.reloaded(good);
    }

    fn scrape(&self) -> Reply {
        self.metrics.in_flight(self.in_flight.load(Ordering::Relaxed));
        if let Some(stats) = &self.responder {
            let counts = stats.read();
            let rejected = [
                ("connections", counts.rejected_connections),
                ("rate", counts.rejected_rate),
                ("body", counts.rejected_body),
                ("accept", counts.accept_errors),
            ];
            self.metrics.responder(counts.open_connections, counts.requests, &rejected);
        }
        exposition(Either::Right(Scrape { pieces: self.metrics.exposition(), rested: true }))
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let head = request.method() == Method::HEAD;
        let mut reply = self.route(&request).await;
        if head {
            *reply.body_mut() = Either::Left(Full::default());
        }
        reply
    }

    async fn route(&self, request: &Request<Incoming>) -> Reply {
        let path = request.uri().path();
        if !PATHS.contains(&path) {
            return text(StatusCode::NOT_FOUND, format!("{path}: nothing is here\n"));
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            reply.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("a valid value"));
            return reply;
        }
        if !request.body().is_end_stream() {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "nothing here takes a body\n");
        }
        match path {
            "/metrics" => self.scrape(),
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.ready.load(Ordering::Relaxed) => text(StatusCode::OK, "ok\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting or ending\n"),
            "/v1/window" => self.json(Page::Window, request.uri().query()),
            "/v1/flows" => self.json(Page::Flows, request.uri().query()),
            "/probe" => {
                let reply = blackbox::answer(self, request).await;
                self.metrics.probe_request(reply.status().as_u16());
                reply
            }
            _ => text(StatusCode::OK, INDEX),
        }
    }

    fn json(&self, page: Page, query: Option<&str>) -> Reply {
        match page.told((&self.window, &self.flows), query, SystemTime::now()) {
            Ok(told) => {
                let mut reply = reply(StatusCode::OK, JSON, whole(told.json));
                reply.headers_mut().insert(AS_OF_HEADER, told.as_of);
                reply
            }
            Err((status, problem)) => text(status, problem),
        }
    }
}

/// What is told in JSON, here and on the control channel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Page {
    /// `/v1/window`.
    Window,
    /// `/v1/flows`.
    Flows,
}

/// A page.
pub(super) struct Told {
    /// Its body.
    pub(super) json: Vec<u8>,
    /// Its time.
    pub(super) as_of: HeaderValue,
}

impl Page {
    /// The page at `path`.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/v1/window" => Some(Self::Window),
            "/v1/flows" => Some(Self::Flows),
            _ => None,
        }
    }

    /// What it is at `now`; of windows with `since=` in the `query` only what grew since then.
    pub(super) fn told(
        self,
        (window, flows): (&Window, &Flows),
        query: Option<&str>,
        now: SystemTime,
    ) -> Result<Told, (StatusCode, String)> {
        let json = match self {
            Self::Window => serde_json::to_vec(&window.observations(now, since(query)?)),
            Self::Flows => serde_json::to_vec(&flows.told()),
        };
        let failed = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
        let json = json.map_err(|error| failed(error.to_string()))?;
        let as_of = OffsetDateTime::from(now).format(&Rfc3339);
        let as_of = as_of.map_err(|error| failed(error.to_string()))?;
        Ok(Told { json, as_of: as_of.parse().expect("digits and signs") })
    }
}

fn since(query: Option<&str>) -> Result<Option<SystemTime>, (StatusCode, String)> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let Some((_, value)) = pairs.find(|(key, _)| key == "since") else { return Ok(None) };
    let time = OffsetDateTime::parse(&value, &Rfc3339).map_err(|_| {
        let problem = "since must be a time by RFC 3339, such as 2026-01-01T00:00:00Z\n";
        (StatusCode::BAD_REQUEST, problem.to_owned())
    })?;
    Ok(Some(time.into()))
}

pub(super) const JSON: &str = "application/json";

const INDEX: &str =
    "meshprobe agent\n\n/metrics\n/livez\n/readyz\n/v1/window\n/v1/flows\n/probe?target=&module=\n";
const PATHS: [&str; 7] =
    ["/", "/metrics", "/livez", "/readyz", "/v1/window", "/v1/flows", "/probe"];

/// Serves `admin` on `listener` until `stop`; requests under way are finished.
pub(super) async fn serve(
    listener: TcpListener,
    connections: u32,
    admin: Arc<Admin>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let answer = move |request: Request<Incoming>| {
        let admin = Arc::clone(&admin);
        async move { admin.answer(request).await }
    };
    net::http::serve(listener, connections, answer, stop, tasks).await;
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    reply(status, "text/plain; charset=utf-8", whole(body))
}

/// The text format of Prometheus.
pub(super) fn exposition(body: Either<Full<Bytes>, Scrape>) -> Reply {
    reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
}

pub(super) fn whole(body: impl Into<Bytes>) -> Either<Full<Bytes>, Scrape> {
    Either::Left(Full::new(body.into()))
}

fn reply(status: StatusCode, kind: &'static str, body: Either<Full<Bytes>, Scrape>) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, kind.parse().expect("a valid value"));
    let sniff = HeaderName::from_static("x-content-type-options");
    headers.insert(sniff, "nosniff".parse().expect("a valid value"));
    reply
}

/// A scrape on its way out. Attempts run between its pieces: it must not become their lag.
#[derive(Debug)]
pub(super) struct Scrape {
    pieces: Exposition,
    rested: bool,
}

impl Body for Scrape {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.rested = !self.rested;
        if self.rested {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = self.pieces.next();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from(piece)))))
    }
}

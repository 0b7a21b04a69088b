//! What ztunnel's own pod answers: readiness on 15021, counters on 15020.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::state::State;

/// A connection is cut off after this long.
const LIMIT: Duration = Duration::from_secs(60);

/// What a port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// `/healthz/ready`.
    Readiness,
    /// `/stats/prometheus` and `/metrics`.
    Metrics,
}

/// Serves one connection.
pub(super) async fn serve(state: Arc<State>, page: Page, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&state, page, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = timeout_at(Instant::now() + LIMIT, connection).await;
}

fn answer(state: &State, page: Page, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let known = match page {
        Page::Readiness => path == "/healthz/ready",
        Page::Metrics => path == "/stats/prometheus" || path == "/metrics",
    };
    let (status, kind, body) = if !known {
        (StatusCode::NOT_FOUND, "text/plain", String::new())
    } else if method != Method::GET {
        (StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new())
    } else {
        match page {
            Page::Readiness => readiness(state),
            Page::Metrics => {
                let kind = "application/openmetrics-text;charset=utf-8;version=1.0.0";
                (StatusCode::OK, kind, state.stats.render())
            }
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// As the real one, it knows nothing of CA and istiod once it has started.
fn readiness(state: &State) -> (StatusCode, &'static str, String) {
    let pending = state.now(|condition| condition.pending.join(", "));
    if pending.is_empty() {
        return (StatusCode::OK, "text/plain", "ready\n".to_owned());
    }
    let body = format!("not ready, pending: {pending}\n");
    (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", body)
}

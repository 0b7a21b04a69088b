//! istiod's plaintext port of `/version`, `/metrics` and `/ready`.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::Shared;

/// What `/version` says.
const VERSION: &str = "1.24.2-meshprobe-lab-Clean";

/// What an istiod counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    signed: AtomicU64,
    rejected: AtomicU64,
    streams: AtomicU64,
}

impl Counts {
    pub(super) fn signed(&self, good: bool) {
        let counter = if good { &self.signed } else { &self.rejected };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn streamed(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    /// Certificates signed, requests for one rejected, discovery streams opened.
    pub(super) fn totals(&self) -> [u64; 3] {
        [&self.signed, &self.rejected, &self.streams].map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// Serves `stream` until it ends.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let response = respond(request.uri().path(), &shared.counts);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new());
    // A client that broke off is its own business.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

fn respond(path: &str, counts: &Counts) -> http::Response<Full<Bytes>> {
    let (status, text) = match path {
        "/version" => (http::StatusCode::OK, VERSION.to_owned()),
        "/metrics" => (http::StatusCode::OK, metrics(counts)),
        "/ready" => (http::StatusCode::OK, String::new()),
        _ => (http::StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
    };
    let mut response = http::Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

fn metrics(counts: &Counts) -> String {
    let [signed, rejected, streams] = counts.totals();
    let rows = [
        ("citadel_server_csr_count", signed + rejected),
        ("citadel_server_success_cert_issuance_count", signed),
        ("pilot_xds_pushes", streams),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a String does not fail.
        let _ = writeln!(text, "# TYPE {name} counter\n{name} {value}");
    }
    text
}

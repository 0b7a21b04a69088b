//! One controller: connected to, again and again, and answered.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::links::Links;
use super::{Settings, scattered};
use crate::agent::admin::{JSON, Page};
use crate::channel::{Dialer, Fault, Key, Peer, Service};
use crate::config::{AGENT_HEADER, PLAN_HEADER};
use crate::window::AS_OF_HEADER;

/// How long a handshake may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The first wait after a failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// The longest wait after a failure, half of it at random.
const LAST_RETRY: Duration = Duration::from_secs(16);
/// A connection that lived for this long was a success.
const SUCCESS: Duration = Duration::from_secs(10);

/// Keeps a connection to the controller at `address` until `stop`.
pub(super) async fn keep(
    address: SocketAddr,
    settings: Arc<Settings>,
    dialer: Dialer,
    links: Links,
    stop: CancellationToken,
) {
    let mut failures = 0;
    let mut told = None;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let problem = match connect(address, &settings, &dialer).await {
            Ok(peer) => {
                tracing::debug!(%address, "connected to a controller");
                links.enter(address, &peer);
                let fault = peer.serve(Answers(Arc::clone(&settings)), stop.clone()).await;
                links.leave(address);
                peer.close("the agent leaves");
                fault.map(|fault| fault.to_string())
            }
            Err(problem) => Some(problem),
        };
        let Some(problem) = problem else { return };
        failures = if began.elapsed() >= SUCCESS { 1 } else { failures + 1 };
        // Each problem is told when it is new: a controller may be gone for long.
        if told.as_ref() != Some(&problem) {
            tracing::warn!(%address, problem, "no connection to this controller");
            told = Some(problem);
        }
        let wait = scattered(retry(failures));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn retry(failures: u32) -> Duration {
    (FIRST_RETRY * 2u32.pow(failures.saturating_sub(1).min(16))).min(LAST_RETRY)
}

async fn connect(
    address: SocketAddr,
    settings: &Settings,
    dialer: &Dialer,
) -> Result<Peer, String> {
    // Read each time: a new Secret is taken up without a restart.
    let key = settings.config.key.as_deref().map(Key::load).transpose();
    let key = key.map_err(|error| error.to_string())?;
    let deadline = Instant::now() + DIAL_TIMEOUT;
    let dialled = dialer.dial(address, key.as_ref(), deadline).await;
    dialled.map_err(|fault: Fault| fault.to_string())
}

/// What controllers may ask of an agent.
#[derive(Clone)]
struct Answers(Arc<Settings>);

impl Service for Answers {
    fn answer(
        &self,
        _: Peer,
        request: Request<Bytes>,
    ) -> impl Future<Output = Response<Bytes>> + Send {
        std::future::ready(self.respond(&request))
    }
}

impl Answers {
    fn respond(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let text = "text/plain; charset=utf-8";
        let (path, query) = (request.uri().path(), request.uri().query());
        let pages = (&*self.0.window, &*self.0.flows);
        let mut as_of = None;
        let (status, kind, body) = match (request.method(), Page::at(path)) {
            (&Method::GET, Some(page)) => match page.told(pages, query, SystemTime::now()) {
                Ok(told) => {
                    as_of = Some(told.as_of);
                    (StatusCode::OK, JSON, told.json)
                }
                Err((status, problem)) => (status, text, problem.into()),
            },
            (_, Some(_)) => (StatusCode::METHOD_NOT_ALLOWED, text, b"only GET\n".to_vec()),
            (_, None) => (StatusCode::NOT_FOUND, text, format!("{path}: not here\n").into()),
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(as_of) = as_of {
            headers.insert(AS_OF_HEADER, as_of);
        }
        // A query is ASCII.
        let agent = HeaderValue::from_str(&self.0.query()).expect("escaped");
        headers.insert(AGENT_HEADER, agent);
        let runs = self.0.runs.lock().expect("no panic while held").clone();
        if let Some(tag) = runs.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
            headers.insert(PLAN_HEADER, tag);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound() {
        assert_eq!(retry(1), FIRST_RETRY);
        assert_eq!(retry(3), FIRST_RETRY * 4);
        assert_eq!(retry(7), LAST_RETRY);
        assert_eq!(retry(u32::MAX), LAST_RETRY);
    }
}

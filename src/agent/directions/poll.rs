//! Asks one controller at a time what the plan is, and waits with it for another one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::links::Links;
use super::{Known, Offer, Settings, name, scattered};
use crate::channel::{Fault, Peer};
use crate::config::{CONTROLLERS_HEADER, MAX_CONTROLLERS, MAX_PLAN_BYTES};

/// How long a controller is asked to wait for a change, seconds.
const WAIT: u64 = 25;
/// How long an answer may take: the wait, and a large plan on its way.
const POLL_TIMEOUT: Duration = Duration::from_secs(WAIT + 15);
/// A round takes this long at least, so that a controller that does not wait is not hammered.
const ROUND: Duration = Duration::from_millis(250);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Poll {
    pub(super) settings: Arc<Settings>,
    pub(super) links: Links,
    pub(super) known: Known,
    /// Where controllers are, by the last plan or answer.
    pub(super) named: watch::Sender<Vec<SocketAddr>>,
    pub(super) offering: mpsc::Sender<Offer>,
}

impl Poll {
    /// Offers every plan that a controller gives.
    pub(super) async fn run(self) {
        let (mut last, mut failed) = (None, false);
        let mut told = None;
        loop {
            let (address, peer) = self.links.one(last, failed).await;
            let round = Instant::now() + scattered(ROUND);
            let problem = match self.ask(&peer).await {
                Ok(response) => self.take(response).await,
                Err(Fault::Timeout) => {
                    // It holds the connection and does not answer: it must be looked for anew.
                    peer.close("no answer in time");
                    Some(Fault::Timeout.to_string())
                }
                Err(fault) => Some(fault.to_string()),
            };
            failed = problem.is_some();
            if failed && problem != told {
                let problem = problem.as_deref();
                tracing::warn!(%address, problem, "this controller gave no plan");
            }
            if failed {
                tokio::time::sleep(scattered(PAUSE)).await;
            }
            told = problem;
            last = Some(address);
            tokio::time::sleep_until(round).await;
        }
    }

    async fn ask(&self, peer: &Peer) -> Result<Response<Bytes>, Fault> {
        let mut request = Request::get(format!("/v1/plan?{}", self.settings.query()))
            .header("prefer", format!("wait={WAIT}"))
            .body(Bytes::new())
            .expect("a query is escaped");
        let known = self.known.lock().expect("no panic while held").clone();
        if let Some(tag) = known.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
            request.headers_mut().insert(IF_NONE_MATCH, tag);
        }
        peer.ask(request, Instant::now() + POLL_TIMEOUT, MAX_PLAN_BYTES).await
    }

    /// What is wrong with `response`, when it is neither a plan nor the word that there is no new
    /// one.
    async fn take(&self, response: Response<Bytes>) -> Option<String> {
        if let Some(controllers) = controllers(&response) {
            name(&self.named, &controllers);
        }
        let confirmed = || self.settings.metrics.plan_confirmed(SystemTime::now());
        match response.status() {
            StatusCode::NOT_MODIFIED => {
                confirmed();
                None
            }
            StatusCode::OK => {
                let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
                *self.known.lock().expect("no panic while held") = tag.map(str::to_owned);
                let Ok(text) = String::from_utf8(response.into_body().into()) else {
                    self.settings.metrics.plan_rejected();
                    return Some("the plan is not UTF-8".to_owned());
                };
                confirmed();
                // Nobody takes offers any more only when this ends too.
                let _ = self.offering.send(Offer(text)).await;
                None
            }
            status => {
                let body = String::from_utf8_lossy(response.body());
                let line: String =
                    body.lines().next().unwrap_or_default().chars().take(200).collect();
                Some(format!("status {status}: {line}"))
            }
        }
    }
}

/// Where controllers are, as an answer tells beside a plan or without one; nothing when it is
/// garbled.
fn controllers(response: &Response<Bytes>) -> Option<Vec<SocketAddr>> {
    let text = response.headers().get(CONTROLLERS_HEADER)?.to_str().ok()?;
    let listed = text.split(',').take(MAX_CONTROLLERS + 1).map(|address| address.trim().parse());
    let all: Vec<SocketAddr> = listed.collect::<Result<_, _>>().ok()?;
    (all.len() <= MAX_CONTROLLERS).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(header: &str) -> Option<Vec<SocketAddr>> {
        let response = Response::builder().header(CONTROLLERS_HEADER, header);
        controllers(&response.body(Bytes::new()).expect("a response"))
    }

    #[test]
    fn a_list_of_controllers_is_taken_as_a_whole_or_not_at_all() {
        let two = ["192.0.2.1:9854", "[2001:db8::1]:9854"].map(|it| it.parse().expect("good"));
        assert_eq!(told("192.0.2.1:9854, [2001:db8::1]:9854"), Some(two.to_vec()));
        assert_eq!(told("192.0.2.1:9854,controller"), None);
        assert_eq!(told(""), None);
        assert_eq!(told(&vec!["192.0.2.1:9854"; MAX_CONTROLLERS + 1].join(",")), None);
    }
}

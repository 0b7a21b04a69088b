//! What agents ask on the control channel: their plan.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::form_urlencoded;

use crate::channel::{Peer, Service};
use crate::controller::roster::Seat;
use crate::controller::{Shared, collect};
use crate::target::Vantage;

/// The longest that a poll waits for a change, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Longest name of a node or a pod.
const LONGEST_NAME: usize = 253;

/// Answers agents.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Who asks for a plan: `node`, `vantage` and `pod` of the query.
fn asker(query: &str) -> Result<Seat, String> {
    let value = |key: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let found = pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned());
        let found = found.filter(|value| (1..=LONGEST_NAME).contains(&value.len()));
        found.ok_or_else(|| format!("{key} is missing: ask ?node=&vantage=&pod=\n"))
    };
    let vantage = value("vantage")?;
    let vantage: Vantage = vantage.parse().map_err(|error| format!("vantage {error}\n"))?;
    Ok(Seat { node: value("node")?, vantage, pod: value("pod")? })
}

/// The answer to one question after a plan, at this moment.
enum Found {
    /// The plan, with its revision.
    Plan { revision: String, body: Vec<u8> },
    /// The cluster was not read yet.
    Unsynced,
    /// No such pod.
    Unknown,
    /// The pod has another address than the one that asks.
    Elsewhere,
}

impl Desk {
    pub(super) fn new(shared: Arc<Shared>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { shared, tasks, stop }
    }

    async fn plan(&self, peer: Peer, request: &Request<Bytes>) -> Response<Bytes> {
        let seat = match asker(request.uri().query().unwrap_or_default()) {
            Ok(seat) => seat,
            Err(problem) => return text(StatusCode::BAD_REQUEST, problem),
        };
        let held = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let deadline = Instant::now() + wait(request);
        let mut planned = self.shared.planned.clone();
        loop {
            planned.borrow_and_update();
            let found = self.shared.find(&seat, Some(&peer));
            if let Found::Plan { revision, .. } = &found {
                self.meet(&seat, &peer, held, revision);
            }
            let news = match &found {
                Found::Plan { revision, .. } => held != Some(tag(revision).as_str()),
                Found::Elsewhere => true,
                Found::Unsynced | Found::Unknown => false,
            };
            let over = !news && {
                let changed = tokio::time::timeout_at(deadline, planned.changed()).await;
                !matches!(changed, Ok(Ok(())))
            };
            if news || over {
                return self.told(&found, news, &seat);
            }
        }
    }

    /// The answer that goes out.
    fn told(&self, found: &Found, news: bool, seat: &Seat) -> Response<Bytes> {
        let answer = match found {
            Found::Plan { revision, body } if news => {
                self.shared.roster.served(seat, revision);
                let mut answer = Response::new(Bytes::from(body.clone()));
                let headers = answer.headers_mut();
                headers.insert(CONTENT_TYPE, "application/json".parse().expect("a valid value"));
                headers.insert(ETAG, tag(revision).parse().expect("hexadecimal digits"));
                answer
            }
            Found::Plan { revision, .. } => {
                let mut answer = text(StatusCode::NOT_MODIFIED, "");
                let revision = tag(revision).parse().expect("hexadecimal digits");
                answer.headers_mut().insert(ETAG, revision);
                answer
            }
            other => other.refusal(seat),
        };
        self.shared.metrics.plan_served(answer.status().as_u16());
        answer
    }

    /// Notes who asks, and begins to pull its windows when this is the first time.
    fn meet(&self, seat: &Seat, peer: &Peer, held: Option<&str>, revision: &str) {
        let current = held == Some(tag(revision).as_str());
        if self.shared.roster.met(seat, peer.id(), current.then_some(revision)) {
            let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
            self.tasks.spawn(collect::follow(shared, seat.clone(), peer.clone(), stop));
        }
    }
}

impl Service for Desk {
    async fn answer(&self, peer: Peer, request: Request<Bytes>) -> Response<Bytes> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/v1/plan") => self.plan(peer, &request).await,
            (_, "/v1/plan") => text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
            (_, path) => text(StatusCode::NOT_FOUND, format!("{path}: nothing is here\n")),
        }
    }
}

impl Shared {
    /// The plan of the agent in `seat`; `peer` is where it asks from, if it asks itself.
    fn find(&self, seat: &Seat, peer: Option<&Peer>) -> Found {
        let Some(planned) = self.planned.borrow().clone() else { return Found::Unsynced };
        let Some(agent) = planned.agent(&seat.node, seat.vantage, &seat.pod) else {
            return Found::Unknown;
        };
        // Without a key its address is all that tells an agent from anybody else.
        let asks_from = peer.map(|peer| peer.remote_address().ip());
        if !self.keyed && asks_from.is_some_and(|ip| ip != agent.pod.ip) {
            return Found::Elsewhere;
        }
        let plan = planned.plan(agent);
        match serde_json::to_vec(&plan) {
            Ok(body) => Found::Plan { revision: plan.revision, body },
            Err(error) => unreachable!("a plan has only text keys: {error}"),
        }
    }

    /// The plan of the agent that `query` names, for a reader: no waiting, nobody noted.
    pub(super) fn show_plan(&self, query: &str) -> Result<Vec<u8>, (StatusCode, String)> {
        let seat = asker(query).map_err(|problem| (StatusCode::BAD_REQUEST, problem))?;
        match self.find(&seat, None) {
            Found::Plan { body, .. } => Ok(body),
            other => {
                let refusal = other.refusal(&seat);
                let told = String::from_utf8_lossy(refusal.body()).into_owned();
                Err((refusal.status(), told))
            }
        }
    }
}

impl Found {
    /// Why there is no plan.
    fn refusal(&self, seat: &Seat) -> Response<Bytes> {
        let Seat { node, vantage, pod } = seat;
        match self {
            Self::Unsynced | Self::Plan { .. } => {
                text(StatusCode::SERVICE_UNAVAILABLE, "the cluster was not read yet\n")
            }
            Self::Unknown => text(
                StatusCode::NOT_FOUND,
                format!("no agent's pod {pod} of vantage {vantage} is on node {node}\n"),
            ),
            Self::Elsewhere => text(
                StatusCode::FORBIDDEN,
                format!("pod {pod} has another address; state a shared key for other ways here\n"),
            ),
        }
    }
}

/// `Prefer: wait=SECONDS` (RFC 7240), within bounds.
fn wait(request: &Request<Bytes>) -> Duration {
    let preferred = request.headers().get("prefer").and_then(|value| value.to_str().ok());
    let mut words = preferred.unwrap_or_default().split([',', ';']).map(str::trim);
    let seconds = words.find_map(|word| word.strip_prefix("wait=")?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(LONGEST_WAIT)
}

fn tag(revision: &str) -> String {
    format!("\"{revision}\"")
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(body.into()));
    *answer.status_mut() = status;
    answer
}

//! What agents ask on the control channel: their plan.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::{Instant, sleep_until, timeout_at};
use url::form_urlencoded;

use crate::channel::{Peer, Service};
use crate::cluster::Agent;
use crate::config::{CONTROLLERS_HEADER, MAX_CONTROLLERS, print_revision};
use crate::controller::Shared;
use crate::controller::planner::Planned;
use crate::controller::roster::Seat;
use crate::target::Vantage;

/// The longest that a poll waits for a change, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Longest name of a node or a pod.
const LONGEST_NAME: usize = 253;
/// Of the agents that wait for another plan so many are told in a second: each of them takes its
/// plan to be made, and then fetches it.
const TOLD_PER_SECOND: usize = 1000;
/// The last agent's turn comes no later than this after a change.
const LONGEST_TURN: Duration = Duration::from_secs(10);

/// Answers agents.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    shared: Arc<Shared>,
    /// Polls under way.
    waiting: Arc<AtomicUsize>,
}

/// A poll that is under way, counted while it is.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }

    fn all(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long after a change the agent in `seat` is told, one of `waiting`: a few of them at once, a
/// fleet one after the other.
fn turn(seat: &Seat, waiting: usize) -> Duration {
    let all = Duration::from_secs_f64(waiting as f64 / TOLD_PER_SECOND as f64).min(LONGEST_TURN);
    let mut hasher = DefaultHasher::new();
    seat.hash(&mut hasher);
    all.mul_f64(hasher.finish() as f64 / u64::MAX as f64)
}

/// Who an agent is: `node`, `vantage` and `pod` of the query.
pub(super) fn asker(query: &str) -> Result<Seat, String> {
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
    /// Who it is, among which plans, and the revision of its own.
    Agent { planned: Arc<Planned>, agent: Box<Agent>, revision: String },
    /// The cluster was not read yet.
    Unsynced,
    /// No such pod.
    Unknown,
    /// The pod has another address than the one that asks.
    Elsewhere,
}

impl Desk {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, waiting: Arc::default() }
    }

    async fn plan(&self, peer: Peer, request: &Request<Bytes>) -> Response<Bytes> {
        let seat = match asker(request.uri().query().unwrap_or_default()) {
            Ok(seat) => seat,
            Err(problem) => return text(StatusCode::BAD_REQUEST, problem),
        };
        let held = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let deadline = Instant::now() + wait(request);
        let mut planned = self.shared.planned.clone();
        let waiting = Waiting::enter(&self.waiting);
        let answer = loop {
            planned.borrow_and_update();
            let found = self.shared.find(&seat, Some(&peer));
            let news = match &found {
                Found::Agent { revision, .. } => held != Some(print_revision(revision).as_str()),
                Found::Elsewhere => true,
                Found::Unsynced | Found::Unknown => false,
            };
            if news || !matches!(timeout_at(deadline, planned.changed()).await, Ok(Ok(()))) {
                break told(&found, news, &seat);
            }
            let turn = Instant::now() + turn(&seat, waiting.all());
            sleep_until(turn.min(deadline)).await;
        };
        self.shared.metrics.plan_served(answer.status().as_u16());
        answer
    }
}

/// The answer that goes out.
fn told(found: &Found, news: bool, seat: &Seat) -> Response<Bytes> {
    let Found::Agent { planned, agent, revision } = found else { return found.refusal(seat) };
    let mut answer = if news {
        Response::new(Bytes::from(planned.plan(agent).to_json()))
    } else {
        text(StatusCode::NOT_MODIFIED, "")
    };
    let headers = answer.headers_mut();
    headers.insert(CONTROLLERS_HEADER, listed(planned.controllers()));
    headers.insert(ETAG, print_revision(revision).parse().expect("hexadecimal digits"));
    if news {
        headers.insert(CONTENT_TYPE, "application/json".parse().expect("a valid value"));
    }
    answer
}

fn listed(controllers: &[SocketAddr]) -> HeaderValue {
    let all = controllers.iter().take(MAX_CONTROLLERS).map(ToString::to_string);
    let all: Vec<String> = all.collect();
    all.join(",").parse().expect("addresses are ASCII")
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
    /// The agent in `seat`, and which plan it is to run; `peer` is where it asks from, if it asks
    /// itself.
    fn find(&self, seat: &Seat, peer: Option<&Peer>) -> Found {
        let Some(planned) = self.planned.borrow().clone() else { return Found::Unsynced };
        let Some(agent) = planned.agent(&seat.node, seat.vantage, &seat.pod).cloned() else {
            return Found::Unknown;
        };
        // Without a key its address is all that tells an agent from anybody else.
        let asks_from = peer.map(|peer| peer.remote_address().ip());
        if !self.keyed && asks_from.is_some_and(|ip| ip != agent.pod.ip) {
            return Found::Elsewhere;
        }
        let revision = self.revisions.of(&planned, seat, || planned.plan(&agent).revision);
        Found::Agent { planned, agent: Box::new(agent), revision }
    }

    /// The revision that the agent in `seat` is to run, who speaks from `peer`.
    pub(super) fn wanted(&self, seat: &Seat, peer: &Peer) -> Option<String> {
        match self.find(seat, Some(peer)) {
            Found::Agent { revision, .. } => Some(revision),
            Found::Unsynced | Found::Unknown | Found::Elsewhere => None,
        }
    }

    /// The plan of the agent that `query` names, for a reader: no waiting.
    pub(super) fn show_plan(&self, query: &str) -> Result<Vec<u8>, (StatusCode, String)> {
        let seat = asker(query).map_err(|problem| (StatusCode::BAD_REQUEST, problem))?;
        match self.find(&seat, None) {
            Found::Agent { planned, agent, .. } => Ok(planned.plan(&agent).to_json()),
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
            Self::Unsynced | Self::Agent { .. } => {
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

fn text(status: StatusCode, body: impl Into<String>) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(body.into()));
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(agents: usize) -> Vec<Duration> {
        let seats = (0..agents).map(|index| Seat {
            node: format!("node-{}", index / 2),
            vantage: Vantage::ALL[index % 2],
            pod: format!("meshprobe-agent-{index:05x}"),
        });
        let mut turns: Vec<Duration> = seats.map(|seat| turn(&seat, agents)).collect();
        turns.sort_unstable();
        turns
    }

    #[test]
    fn a_few_agents_are_told_at_once() {
        assert!(turns(10).iter().all(|turn| *turn <= Duration::from_millis(10)));
    }

    #[test]
    fn ten_thousand_agents_are_told_one_after_the_other_within_ten_seconds() {
        let turns = turns(10_000);
        assert!(turns.iter().all(|turn| *turn <= LONGEST_TURN));
        for second in 0..10 {
            let (from, to) = (Duration::from_secs(second), Duration::from_secs(second + 1));
            let told = turns.iter().filter(|turn| (from..to).contains(*turn)).count();
            assert!((800..1_200).contains(&told), "{told} in second {second}");
        }
    }

    #[test]
    fn who_waits_no_more_is_not_counted() {
        let count = AtomicUsize::new(0);
        let first = Waiting::enter(&count);
        drop(Waiting::enter(&count));
        assert_eq!(first.all(), 1);
    }
}

//! Pulls the windows of every agent that is connected, over the connection that it made.
//!
//! An agent polls one controller for its plan and answers all of them: who it is and which plan it
//! runs comes with its windows, so that each replica knows the whole fleet. After the first answer
//! only what grew is asked for.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::form_urlencoded::byte_serialize;

use crate::channel::{Peer, Peers};
use crate::cluster::Agent;
use crate::config::{AGENT_HEADER, PLAN_HEADER, print_revision};
use crate::controller::Shared;
use crate::controller::desk::asker;
use crate::controller::each_peer::each_peer;
use crate::controller::roster::{Entry, Seat};
use crate::evidence::{Source, Telling};
use crate::observation::Told;
use crate::window::AS_OF_HEADER;

/// How often what is told no more is forgotten, in looks for new connections.
const FORGET: u64 = 30;
/// Time between two pulls of one agent: that of two attempts, so that each is known before the
/// next one is made.
const EVERY: Duration = Duration::from_secs(5);
/// And at the least, in a small fleet: what breaks is to be seen soon.
const SOON: Duration = Duration::from_secs(2);
/// Pulls per second that do not make a small fleet's agents wait for each other.
const AT_EASE: f64 = 200.0;
/// Pulls per second at the most: larger fleets are pulled less often.
const PER_SECOND: f64 = 1000.0;
/// One pull of so many asks for everything, so that what an agent probes no more is forgotten.
const WHOLE: u32 = 12;
/// By which share of the time between them pulls are moved at random.
const JITTER: f64 = 0.1;
/// Pulls under way at once.
const AT_ONCE: usize = 256;
/// How long an agent may take to tell its windows.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the time to the next pull doubles while an agent tells nothing: those that hang are
/// not to keep others waiting.
const DOUBLED: u32 = 3;
/// Largest body of windows, bytes.
const MOST: usize = 8 * 1024 * 1024;

/// What all pulls share.
struct Pulls {
    shared: Arc<Shared>,
    peers: Peers,
    gate: Semaphore,
}

/// Follows every connection among `peers` until `stop`.
pub(super) async fn run(
    shared: Arc<Shared>,
    peers: Peers,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let gate = Semaphore::new(AT_ONCE);
    let pulls = Arc::new(Pulls { shared, peers: peers.clone(), gate });
    let forgetting = Arc::clone(&pulls);
    let look = move |round: u64| {
        if round.is_multiple_of(FORGET) {
            forgetting.shared.forget();
        }
    };
    let ending = stop.clone();
    let follow = move |peer: Peer| {
        let (pulls, stop) = (Arc::clone(&pulls), ending.clone());
        async move { pulls.follow(&peer, stop).await }
    };
    each_peer(peers, tasks, stop, look, follow).await;
}

impl Pulls {
    /// Pulls what the agent behind `peer` sees until its connection or the controller ends.
    async fn follow(&self, peer: &Peer, stop: CancellationToken) {
        // Those that connect at once are spread; all are known soon after a controller's start.
        let mut at = Instant::now() + offset(peer) / 2;
        let mut known: Option<Seat> = None;
        let mut since: Option<String> = None;
        let (mut failures, mut pulls) = (0, 0u32);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = peer.closed() => break,
                () = tokio::time::sleep_until(at) => {}
            }
            let told = {
                let _permit = self.gate.acquire().await.expect("it is never closed");
                let since = since.as_deref().filter(|_| !pulls.is_multiple_of(WHOLE));
                self.pull(peer, since).await
            };
            self.shared.metrics.window_pulled(told.is_ok());
            match told {
                Ok((seat, as_of)) => {
                    (known, since, failures) = (Some(seat), as_of, 0);
                    pulls = pulls.wrapping_add(1);
                }
                Err(problem) => {
                    failures = DOUBLED.min(failures + 1);
                    tracing::debug!(remote = %peer.remote_address(), problem, "no windows");
                }
            }
            at = Instant::now() + scattered(every(self.peers.len()) * 2u32.pow(failures));
        }
        if let Some(seat) = known {
            self.shared.roster.lost(&seat, peer.id());
        }
    }

    /// Has the agent tell what grew since `since`; who it is, and as of when it told.
    async fn pull(
        &self,
        peer: &Peer,
        since: Option<&str>,
    ) -> Result<(Seat, Option<String>), String> {
        let shared = &self.shared;
        let mut uri = "/v1/window".to_owned();
        if let Some(since) = since {
            uri.extend(["?since="].into_iter().chain(byte_serialize(since.as_bytes())));
        }
        let request = Request::get(uri).body(Bytes::new()).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let answer = peer.ask(request, deadline, MOST).await.map_err(|fault| fault.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let header = |name: &str| answer_header(&answer, name);
        let seat = asker(header(AGENT_HEADER).unwrap_or_default())?;
        let wanted = shared.wanted(&seat, peer).ok_or("no agent of the cluster")?;
        let runs = header(PLAN_HEADER).map(|tag| tag.trim_matches('"').to_owned());
        let mut told = Told::read(answer.body()).map_err(|error| error.to_string())?;
        let as_of = header(AS_OF_HEADER);
        let clock = as_of.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let now = SystemTime::now();
        let telling =
            Telling { observations: &told.observations, whole: since.is_none(), as_of: clock };
        let heard = shared.evidence.hear(&seat.source(), telling, now.into());
        shared.analysis.hear(&seat, &mut told.observations);
        shared.metrics.windows_refused((heard.refused + told.unread) as u64);
        let entry = Entry {
            peer: peer.id(),
            connected: true,
            heard: now,
            current: header(PLAN_HEADER) == Some(print_revision(&wanted).as_str()),
            runs,
        };
        shared.roster.heard(seat.clone(), entry);
        Ok((seat, clock.and(as_of).map(str::to_owned)))
    }
}

impl Shared {
    /// Agents that the cluster has, once it was read.
    pub(super) fn sources(&self) -> Option<BTreeSet<Source>> {
        let snapshot = self.snapshots.borrow().clone();
        let agents = snapshot.cluster.agents.iter();
        let source =
            |agent: &Agent| Source { node: agent.pod.node.clone(), vantage: agent.vantage };
        snapshot.synced.then(|| agents.map(source).collect())
    }

    /// Forgets agents that the cluster has no more, and what is told no more.
    pub(super) fn forget(&self) {
        let sources = self.sources();
        let stays = |source: &Source| sources.as_ref().is_none_or(|all| all.contains(source));
        self.evidence.retain(stays, OffsetDateTime::now_utc());
    }
}

fn answer_header<'a>(answer: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// Time between two pulls of one of so many `agents`.
fn every(agents: usize) -> Duration {
    let at_ease = Duration::from_secs_f64(agents as f64 / AT_EASE).clamp(SOON, EVERY);
    at_ease.max(Duration::from_secs_f64(agents as f64 / PER_SECOND))
}

/// `time`, a little more or less.
fn scattered(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    time.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
}

/// When within [`EVERY`] an agent's turn is.
fn offset(peer: &Peer) -> Duration {
    let mut hasher = DefaultHasher::new();
    peer.id().hash(&mut hasher);
    EVERY.mul_f64((hasher.finish() % 1024) as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_fleets_are_heard_of_sooner_and_none_in_step() {
        let seconds = [1, 400, 1000, 5_000, 10_000].map(|agents| every(agents).as_secs());
        assert_eq!(seconds, [2, 2, 5, 5, 10]);
        let times: BTreeSet<Duration> = (0..100).map(|_| scattered(EVERY)).collect();
        assert!(times.len() > 90);
        let bounds = Duration::from_millis(4500)..=Duration::from_millis(5500);
        assert!(times.iter().all(|time| bounds.contains(time)), "{times:?}");
    }
}

//! Pulls the windows of every agent that is connected, over the connection that it made.
//!
//! An agent polls one controller for its plan and answers all of them: who it is and which plan it
//! runs comes with its windows, so that each replica knows the whole fleet.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel::{Peer, Peers};
use crate::config::{AGENT_HEADER, PLAN_HEADER, print_revision};
use crate::controller::Shared;
use crate::controller::desk::asker;
use crate::controller::roster::{Entry, Seat};
use crate::controller::sighting::sightings;
use crate::observation::Told;

/// How often new connections are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two pulls of one agent: the length of a window.
const EVERY: Duration = Duration::from_secs(10);
/// How long an agent may take to tell its windows.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest body of windows, bytes.
const MOST: usize = 8 * 1024 * 1024;

/// Follows every connection among `peers` until `stop`.
pub(super) async fn run(
    shared: Arc<Shared>,
    peers: Peers,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let followed: Arc<Mutex<HashSet<u64>>> = Arc::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        for peer in peers.all() {
            if !followed.lock().expect("no panic while held").insert(peer.id()) {
                continue;
            }
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            let followed = Arc::clone(&followed);
            tasks.spawn(async move {
                follow(&shared, &peer, stop).await;
                followed.lock().expect("no panic while held").remove(&peer.id());
            });
        }
    }
}

/// Pulls what the agent behind `peer` sees until its connection or the controller ends.
async fn follow(shared: &Shared, peer: &Peer, stop: CancellationToken) {
    // Those that connect at once are spread; all are known soon after a controller's start.
    let mut at = Instant::now() + offset(peer) / 4;
    let mut known: Option<Seat> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = peer.closed() => break,
            () = tokio::time::sleep_until(at) => {}
        }
        let told = pull(shared, peer).await;
        shared.metrics.window_pulled(told.is_ok());
        match told {
            Ok((seat, entry)) => {
                shared.roster.heard(seat.clone(), entry);
                known = Some(seat);
            }
            Err(problem) => {
                tracing::debug!(remote = %peer.remote_address(), problem, "no windows");
            }
        }
        at = Instant::now() + EVERY;
    }
    if let Some(seat) = known {
        shared.roster.lost(&seat, peer.id());
    }
}

async fn pull(shared: &Shared, peer: &Peer) -> Result<(Seat, Entry), String> {
    let request = Request::get("/v1/window").body(Bytes::new()).expect("a valid request");
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let answer = peer.ask(request, deadline, MOST).await.map_err(|fault| fault.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    let header = |name: &str| answer_header(&answer, name);
    let seat = asker(header(AGENT_HEADER).unwrap_or_default())?;
    let wanted = shared.wanted(&seat, peer).ok_or("no agent of the cluster")?;
    let runs = header(PLAN_HEADER).map(|tag| tag.trim_matches('"').to_owned());
    let told = Told::read(answer.body()).map_err(|error| error.to_string())?;
    let entry = Entry {
        peer: peer.id(),
        connected: true,
        heard: SystemTime::now(),
        current: header(PLAN_HEADER) == Some(print_revision(&wanted).as_str()),
        runs,
        sightings: sightings(&told.observations),
    };
    Ok((seat, entry))
}

fn answer_header<'a>(answer: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// When within [`EVERY`] an agent's turn is.
fn offset(peer: &Peer) -> Duration {
    let mut hasher = DefaultHasher::new();
    peer.id().hash(&mut hasher);
    EVERY.mul_f64((hasher.finish() % 1024) as f64 / 1024.0)
}

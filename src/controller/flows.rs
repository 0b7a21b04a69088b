//! Who calls whom without mTLS, as the plain agents of all nodes tell it on `/v1/flows`.
//!
//! Pulls over the connections that agents made, keeps the last telling of each node, and merges
//! them for a reader. A node that is silent keeps what it told last, with its age. Judges nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel::{Peer, Peers};
use crate::config::AGENT_HEADER;
use crate::controller::Shared;
use crate::controller::desk::asker;
use crate::controller::each_peer::each_peer;
use crate::controller::roster::Seat;
use crate::flow::{FleetFlows, Flow, FlowSecurity, NodeFlows};
use crate::target::Vantage;

/// Time between two pulls of one agent, on the average.
const EVERY: Duration = Duration::from_secs(30);
/// The first pull of a connection comes within this.
const FIRST: Duration = Duration::from_secs(5);
/// How long an agent may take to tell its flows.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest body of flows, bytes: all that an agent keeps, with the longest names.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Flows that are kept of all nodes together; a node's that come on top are counted as dropped.
const MOST_FLOWS: usize = 200_000;
/// Longest name in a flow, bytes: a SPIFFE ID.
const LONGEST_NAME: usize = 512;
/// Nodes that are kept.
const MOST_NODES: usize = 20_000;

/// What each node told last.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<BTreeMap<String, Telling>>);

#[derive(Debug)]
struct Telling {
    flows: NodeFlows,
    heard: Instant,
}

impl Told {
    /// A node's agent told `flows` at `now`.
    fn heard(&self, mut flows: NodeFlows, now: Instant) {
        let mut tellings = self.0.lock().expect("no panic while held");
        if tellings.len() >= MOST_NODES && !tellings.contains_key(&flows.node) {
            return;
        }
        tellings.remove(&flows.node);
        let others: usize = tellings.values().map(|telling| telling.flows.flows.len()).sum();
        cut(&mut flows, MOST_FLOWS.saturating_sub(others));
        tellings.insert(flows.node.clone(), Telling { flows, heard: now });
    }

    /// Forgets every node of which `stays` says no.
    fn retain(&self, stays: impl Fn(&str) -> bool) {
        self.0.lock().expect("no panic while held").retain(|node, _| stays(node));
    }

    /// All of it as of `now`; with `namespace` only what is called there.
    fn fleet(&self, namespace: Option<&str>, now: Instant) -> FleetFlows {
        let tellings = self.0.lock().expect("no panic while held");
        let told = tellings
            .values()
            .map(|telling| (&telling.flows, now.saturating_duration_since(telling.heard)));
        FleetFlows::within(namespace, told)
    }
}

/// Leaves `flows` at most `most`, plaintext first, and counts the rest as dropped.
fn cut(flows: &mut NodeFlows, most: usize) {
    if flows.flows.len() <= most {
        return;
    }
    flows.flows.sort_by_key(|flow| flow.security);
    for flow in flows.flows.drain(most..) {
        match flow.security {
            FlowSecurity::Plaintext => flows.dropped_plaintext += 1,
            FlowSecurity::MutualTls => flows.dropped_mutual_tls += 1,
        }
    }
}

impl Shared {
    /// Who calls whom over all nodes, as last told; with `namespace` only what is called there.
    pub(super) fn flows(&self, namespace: Option<&str>) -> FleetFlows {
        self.flows.fleet(namespace, Instant::now())
    }
}

/// Follows every connection among `peers` until `stop`. One that tells no flows is not asked again
/// while it is connected.
pub(super) async fn run(
    shared: Arc<Shared>,
    peers: Peers,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let mut snapshots = shared.snapshots.clone();
    let forgetting = Arc::clone(&shared);
    let look = move |_| {
        if snapshots.has_changed().unwrap_or(false) {
            let snapshot = snapshots.borrow_and_update().clone();
            let nodes = &snapshot.cluster.nodes;
            forgetting.flows.retain(|node| nodes.contains_key(node));
        }
    };
    let ending = stop.clone();
    let follow = move |peer: Peer| {
        let (shared, stop) = (Arc::clone(&shared), ending.clone());
        async move { follow(&shared, &peer, stop).await }
    };
    each_peer(peers, tasks, stop, look, follow).await;
}

/// Pulls what the agent behind `peer` counts until its connection or the controller ends, or it is
/// none that has a ztunnel to read.
async fn follow(shared: &Shared, peer: &Peer, stop: CancellationToken) {
    let mut wait = FIRST.mul_f64(random());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = peer.closed() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let told = pull(peer, |seat| shared.wanted(seat, peer).is_some()).await;
        match told {
            Ok(Some(flows)) => {
                shared.metrics.flows_pulled(true);
                shared.flows.heard(flows, Instant::now());
            }
            Ok(None) => return,
            Err(problem) => {
                shared.metrics.flows_pulled(false);
                tracing::debug!(remote = %peer.remote_address(), problem, "no flows");
            }
        }
        wait = EVERY.mul_f64(0.75 + random() / 2.0);
    }
}

/// Asks the agent behind `peer` for its flows; `None` when it is an ambient one. `known` says
/// whether whoever it says to be is of the cluster and may speak from there.
async fn pull(peer: &Peer, known: impl Fn(&Seat) -> bool) -> Result<Option<NodeFlows>, String> {
    let request = Request::get("/v1/flows").body(Bytes::new()).expect("a valid request");
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let answer = peer.ask(request, deadline, MOST_BYTES).await.map_err(|it| it.to_string())?;
    let header = answer.headers().get(AGENT_HEADER).and_then(|value| value.to_str().ok());
    let seat = asker(header.unwrap_or_default())?;
    if seat.vantage == Vantage::Ambient {
        return Ok(None);
    }
    if answer.status() != StatusCode::OK {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    if !known(&seat) {
        return Err("no agent of the cluster".to_owned());
    }
    read(answer.body(), &seat.node).map(Some)
}

/// The flows in `body`, which must all be of `node`.
fn read(body: &[u8], node: &str) -> Result<NodeFlows, String> {
    let flows: NodeFlows = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let told = [&flows.node].into_iter().chain(flows.flows.iter().map(|flow| &flow.node));
    if let Some(other) = { told }.find(|told| told.as_str() != node) {
        return Err(format!("the agent of {node} tells of {other}"));
    }
    if !flows.flows.iter().all(fits) {
        return Err(format!("the agent of {node} tells names longer than {LONGEST_NAME} bytes"));
    }
    Ok(flows)
}

/// Whether no name of `flow` is longer than an agent keeps any.
fn fits(flow: &Flow) -> bool {
    let (source, destination) = (&flow.source, &flow.destination);
    let names = [
        &source.workload,
        &source.namespace,
        &source.principal,
        &destination.workload,
        &destination.namespace,
        &destination.service,
        &destination.service_namespace,
        &destination.canonical_service,
    ];
    names.into_iter().flatten().all(|name| name.len() <= LONGEST_NAME)
}

/// From 0 to 1; the standard library seeds its hashers at random.
fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests;

//! What is wrong in the mesh, of everything that agents told: `/v1/diagnoses`.
//!
//! Each replica concludes by itself from what it heard.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::analysis::{Analyst, Conclusion, Diagnoses, Pace};
use crate::cluster::{Cluster, ControlPlane, Enrolment};
use crate::controller::Shared;
use crate::controller::roster::Seat;
use crate::diagnosis::{Agent, Endpoint, Node, Pod, Service, Topology, diagnose};
use crate::discovery::Snapshot;
use crate::incident::Change;
use crate::observation::Observation;

/// How much longer than it takes to conclude the time between two conclusions is at least: in a
/// large fleet it must not become the controller's main work.
const REST: u32 = 4;

/// The analyst of a controller, and what it concluded last.
#[derive(Debug)]
pub(super) struct Analysis {
    analyst: Mutex<Analyst>,
    latest: Mutex<(Option<OffsetDateTime>, Arc<Diagnoses>)>,
    /// Time between two conclusions, at least.
    every: Duration,
}

impl Analysis {
    pub(super) fn new(pace: Pace) -> Self {
        let analyst = Mutex::new(Analyst::new(OffsetDateTime::now_utc(), pace));
        Self { analyst, latest: Mutex::default(), every: pace.every }
    }

    /// The agent in `seat` told `observations`: who they are from is what `seat` says.
    pub(super) fn hear(&self, seat: &Seat, observations: &mut [Observation]) {
        for observation in observations.iter_mut() {
            observation.source_node.clone_from(&seat.node);
            observation.vantage = Some(seat.vantage);
        }
        let mut analyst = self.analyst.lock().expect("no panic while held");
        analyst.hear(observations.iter(), OffsetDateTime::now_utc());
    }

    /// What was concluded last.
    pub(super) fn latest(&self) -> Arc<Diagnoses> {
        self.concluded().1
    }

    /// The same, and when that was; `None` before the first time.
    pub(super) fn concluded(&self) -> (Option<OffsetDateTime>, Arc<Diagnoses>) {
        self.latest.lock().expect("no panic while held").clone()
    }

    fn conclude(&self, topology: &Topology) -> Conclusion {
        let now = OffsetDateTime::now_utc();
        let analyst = || self.analyst.lock().expect("no panic while held");
        let sight = analyst().look(now);
        // Agents are heard meanwhile.
        let report = diagnose(topology, &sight.present, now);
        let mut analyst = analyst();
        let conclusion = analyst.settle(&sight, topology, report, now);
        let latest = analyst.diagnoses(conclusion.report.clone());
        *self.latest.lock().expect("no panic while held") = (Some(now), Arc::new(latest));
        conclusion
    }
}

/// Concludes until `stop`, once the cluster was read.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut topology: Option<(Arc<Snapshot>, Arc<Topology>)> = None;
    let mut took = Duration::ZERO;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(shared.analysis.every.max(took * REST)) => {}
        }
        let snapshot = shared.snapshots.borrow().clone();
        if !snapshot.synced {
            continue;
        }
        if topology.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &snapshot)) {
            topology = Some((Arc::clone(&snapshot), Arc::new(described(&snapshot.cluster))));
        }
        let (_, described) = topology.as_ref().expect("set above");
        let (described, working) = (Arc::clone(described), Arc::clone(&shared));
        // Large clusters take a while: nobody else is to wait for it.
        let work = move || working.analysis.conclude(&described);
        let began = Instant::now();
        let concluded = tokio::task::spawn_blocking(work).await;
        took = began.elapsed();
        match concluded {
            Ok(conclusion) => {
                for change in &conclusion.changes {
                    let (Change::Opened(it) | Change::Closed(it)) = change;
                    let opened = matches!(change, Change::Opened(_));
                    shared.metrics.incident(&it.component, &it.fault, opened);
                }
                shared.metrics.slow(shared.analysis.latest().slow.paths);
                let (changes, now) = (&conclusion.changes, OffsetDateTime::now_utc());
                shared.announcements.add(changes, &snapshot.cluster, now);
            }
            Err(error) => tracing::error!(%error, "no conclusion: the last one stays"),
        }
    }
}

/// What diagnosis needs to know of `cluster`.
pub(super) fn described(cluster: &Cluster) -> Topology {
    let pods = |plane: &ControlPlane| {
        plane.replicas.keys().map(|pod| Pod { pod: pod.clone(), node: None }).collect()
    };
    let mut seen = BTreeSet::new();
    let mut services = Vec::new();
    for service in &cluster.services {
        if !seen.insert((&service.namespace, &service.name)) {
            continue;
        }
        let ambient = service.endpoints.iter().any(|it| it.pod.wanted == Enrolment::Ambient);
        let endpoints = service.endpoints.iter();
        services.push(Service {
            namespace: service.namespace.clone(),
            name: service.name.clone(),
            ambient,
            mode: None,
            endpoints: endpoints.map(|it| Endpoint { node: Some(it.pod.node.clone()) }).collect(),
        });
    }
    let nodes = cluster.nodes.iter();
    let agents = cluster.agents.iter().filter(|agent| agent.pod.ready);
    Topology {
        nodes: nodes.map(|(name, it)| Node { name: name.clone(), zone: it.zone.clone() }).collect(),
        coredns: pods(&cluster.coredns),
        istiod: pods(&cluster.istiod),
        services,
        agents: agents.map(|it| Agent { node: it.pod.node.clone(), vantage: it.vantage }).collect(),
    }
}

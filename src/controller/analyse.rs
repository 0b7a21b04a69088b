//! What is wrong in the mesh, of everything that agents told: `/v1/diagnoses`, incidents as Events.
//!
//! Each replica concludes by itself from what it heard; only who holds the Lease announces.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::analysis::{Analyst, Conclusion};
use crate::cluster::{Cluster, Finding, FindingReason, ObjectRef};
use crate::controller::Shared;
use crate::controller::roster::Seat;
use crate::diagnosis::{Agent, Endpoint, Node, Pod, Report, Service, Topology};
use crate::incident::{Change, Incident};
use crate::observation::Observation;

/// Time between two conclusions.
const EVERY: Duration = Duration::from_secs(2);
/// Incidents that opened or ended this long ago are announced no more.
const ANNOUNCED: Duration = Duration::from_secs(600);
/// Announcements that are kept.
const MOST: usize = 200;
/// The longest message of an Event, characters.
const LONGEST: usize = 512;

/// What is wrong, and what was.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Diagnoses {
    /// What is broken now.
    #[serde(flatten)]
    pub report: Report,
    /// Paths whose alarm is open.
    #[serde(default)]
    pub alarms: usize,
    /// Incidents that are open, the oldest first.
    #[serde(default)]
    pub open: Vec<Incident>,
    /// The last incidents that are over, the newest first.
    #[serde(default)]
    pub closed: Vec<Incident>,
}

/// The analyst of a controller, and what it concluded last.
#[derive(Debug)]
pub(super) struct Analysis {
    analyst: Mutex<Analyst>,
    latest: watch::Sender<Arc<Diagnoses>>,
    announced: watch::Sender<Arc<Vec<Finding>>>,
}

impl Analysis {
    pub(super) fn new() -> Self {
        let analyst = Mutex::new(Analyst::new(OffsetDateTime::now_utc()));
        Self { analyst, latest: watch::Sender::default(), announced: watch::Sender::default() }
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
        self.latest.borrow().clone()
    }

    /// Incidents that are to be announced, as findings.
    pub(super) fn announced(&self) -> watch::Receiver<Arc<Vec<Finding>>> {
        self.announced.subscribe()
    }

    fn conclude(&self, topology: &Topology) -> Conclusion {
        let mut analyst = self.analyst.lock().expect("no panic while held");
        let conclusion = analyst.conclude(topology, OffsetDateTime::now_utc());
        self.latest.send_replace(Arc::new(Diagnoses {
            report: conclusion.report.clone(),
            alarms: conclusion.alarms,
            open: analyst.open(),
            closed: analyst.closed(),
        }));
        conclusion
    }

    fn announce(&self, changes: &[Change], cluster: &Cluster, now: OffsetDateTime) {
        for change in changes {
            let (Change::Opened(incident) | Change::Closed(incident)) = change;
            let (component, fault) = (&incident.component, &incident.fault);
            match change {
                Change::Opened(_) => {
                    tracing::warn!(component, fault, since = %incident.since, "incident opened");
                }
                Change::Closed(_) => tracing::info!(component, fault, "incident closed"),
            }
        }
        let latest = self.latest();
        let recent = |at: OffsetDateTime| now - at <= ANNOUNCED;
        let opened = latest.open.iter().chain(&latest.closed).filter(|it| recent(it.opened_at));
        let closed = latest.closed.iter().filter(|it| it.closed_at.is_some_and(recent));
        let findings = opened
            .map(|it| finding(it, FindingReason::IncidentOpened, cluster))
            .chain(closed.map(|it| finding(it, FindingReason::IncidentClosed, cluster)));
        let findings: Vec<Finding> = findings.take(MOST).collect();
        self.announced.send_if_modified(|announced| {
            let other = **announced != findings;
            *announced = Arc::new(findings);
            other
        });
    }
}

/// Concludes until `stop`, once the cluster was read.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut topology: Option<(Arc<crate::discovery::Snapshot>, Arc<Topology>)> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
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
        match tokio::task::spawn_blocking(work).await {
            Ok(conclusion) => {
                shared.metrics.incidents(&conclusion.changes);
                shared.analysis.announce(
                    &conclusion.changes,
                    &snapshot.cluster,
                    OffsetDateTime::now_utc(),
                );
            }
            Err(error) => tracing::error!(%error, "no conclusion: the last one stays"),
        }
    }
}

/// What diagnosis needs to know of `cluster`.
fn described(cluster: &Cluster) -> Topology {
    let pods = |plane: &crate::cluster::ControlPlane| {
        plane.replicas.keys().map(|pod| Pod { pod: pod.clone(), node: None }).collect()
    };
    let mut seen = BTreeSet::new();
    let mut services = Vec::new();
    for service in &cluster.services {
        if !seen.insert((&service.namespace, &service.name)) {
            continue;
        }
        let ambient = service
            .endpoints
            .iter()
            .any(|endpoint| endpoint.pod.wanted == crate::cluster::Enrolment::Ambient);
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

/// An incident as something to be said of the object nearest to it.
fn finding(incident: &Incident, reason: FindingReason, cluster: &Cluster) -> Finding {
    let Incident { component, fault, since, summary, .. } = incident;
    let message = match (reason, incident.closed_at) {
        (FindingReason::IncidentClosed, Some(at)) => {
            format!("{component} is whole again since {}: it was {fault}", seconds(at))
        }
        _ => format!("{component} is {fault} since {}: {summary}", seconds(*since)),
    };
    let message: String = message.chars().filter(|it| !it.is_control()).take(LONGEST).collect();
    Finding { object: object(component, cluster), reason, message }
}

fn seconds(at: OffsetDateTime) -> String {
    let whole = at.replace_nanosecond(0).expect("0 is in range");
    whole.format(&time::format_description::well_known::Rfc3339).expect("a time of now")
}

/// The object of the API that `component` is nearest to: a Node, a Namespace, or nothing that
/// exists, and then it is told on the controller's own pod.
fn object(component: &str, cluster: &Cluster) -> ObjectRef {
    let parts: Vec<&str> = component.split('/').collect();
    let node = parts.get(1).copied().filter(|name| cluster.nodes.contains_key(*name));
    let namespace = match (parts.first().copied(), parts.get(1).copied()) {
        (Some("workload" | "policy"), Some(namespace)) => Some(namespace),
        (Some("coredns"), _) => Some("kube-system"),
        (Some("istiod"), _) => Some("istio-system"),
        _ => None,
    };
    let (kind, name, uid) = match (node, namespace) {
        // The kubelet's own Events carry the name as uid; `kubectl describe node` looks for it.
        (Some(node), None) => ("Node", node, Some(node.to_owned())),
        (_, Some(namespace)) => {
            let uid = cluster.namespaces.get(namespace).and_then(|it| it.uid.clone());
            ("Namespace", namespace, uid)
        }
        (None, None) => ("Cluster", component, None),
    };
    ObjectRef { kind: kind.to_owned(), namespace: String::new(), name: name.to_owned(), uid }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::cluster;

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        cluster.nodes.insert("node-2".to_owned(), cluster::Node::default());
        let namespace = cluster::Namespace { uid: Some("u".to_owned()), ..Default::default() };
        cluster.namespaces.insert("default".to_owned(), namespace);
        cluster
    }

    #[test]
    fn incidents_are_told_on_the_object_that_an_operator_looks_at() {
        let cluster = cluster();
        let of = |component: &str| {
            let object = object(component, &cluster);
            (object.kind, object.name, object.uid.is_some())
        };
        let told = |kind: &str, name: &str, uid| (kind.to_owned(), name.to_owned(), uid);
        assert_eq!(of("ztunnel/node-2"), told("Node", "node-2", true));
        assert_eq!(of("agent/node-2/plain"), told("Node", "node-2", true));
        assert_eq!(of("policy/default/web"), told("Namespace", "default", true));
        assert_eq!(of("coredns/coredns-a"), told("Namespace", "kube-system", false));
        assert_eq!(of("zone/a/b"), told("Cluster", "zone/a/b", false));
    }

    #[test]
    fn an_incident_is_one_line_when_it_opens_and_another_when_it_ends() {
        let at = datetime!(2026-01-01 00:00:00.5 UTC);
        let incident = Incident {
            id: 1,
            component: "ztunnel/node-2".to_owned(),
            fault: "dead".to_owned(),
            since: at,
            opened_at: at,
            seen_at: at,
            closed_at: Some(at),
            confidence: 1.0,
            summary: "its sockets\nrefuse".to_owned(),
        };
        let told = |reason| finding(&incident, reason, &cluster()).message;
        let opened = told(FindingReason::IncidentOpened);
        assert_eq!(opened, "ztunnel/node-2 is dead since 2026-01-01T00:00:00Z: its socketsrefuse");
        let closed = told(FindingReason::IncidentClosed);
        assert!(closed.starts_with("ztunnel/node-2 is whole again since 2026"), "{closed}");
    }
}

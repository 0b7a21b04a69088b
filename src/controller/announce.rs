//! Incidents as findings on the objects that they are nearest to, for the Events of who holds the
//! Lease.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::cluster::{Cluster, Finding, FindingReason, ObjectRef};
use crate::incident::{Change, Incident};
use crate::observation::rfc3339;

/// Incidents that opened or ended this long ago are announced no more.
const ANNOUNCED: Duration = Duration::from_secs(600);
/// Announcements that are kept.
const MOST: usize = 200;
/// The longest message of an Event, characters.
const LONGEST: usize = 512;

/// The Services of the control plane: namespace and name.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// CoreDNS's.
    pub(super) coredns: (String, String),
    /// istiod's.
    pub(super) istiod: (String, String),
}

/// What is announced.
#[derive(Debug)]
pub(super) struct Announcements {
    findings: watch::Sender<Arc<Vec<Finding>>>,
    /// The last changes as they were told, with when: what is known of an incident later on does
    /// not make another Event of its beginning.
    recent: Mutex<VecDeque<(OffsetDateTime, Finding)>>,
    places: Places,
}

impl Announcements {
    pub(super) fn new(places: Places) -> Self {
        Self { findings: watch::Sender::default(), recent: Mutex::default(), places }
    }

    /// What is to be told, whenever that changes.
    pub(super) fn told(&self) -> watch::Receiver<Arc<Vec<Finding>>> {
        self.findings.subscribe()
    }

    /// These happened at `now`.
    pub(super) fn add(&self, changes: &[Change], cluster: &Cluster, now: OffsetDateTime) {
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
        let mut recent = self.recent.lock().expect("no panic while held");
        recent.extend(changes.iter().map(|change| (now, finding(change, cluster, &self.places))));
        recent.retain(|(at, _)| now - *at <= ANNOUNCED);
        let surplus = recent.len().saturating_sub(MOST);
        recent.drain(..surplus);
        let findings: Vec<Finding> = recent.iter().map(|(_, finding)| finding.clone()).collect();
        drop(recent);
        self.findings.send_if_modified(|announced| {
            let other = **announced != findings;
            *announced = Arc::new(findings);
            other
        });
    }
}

/// What happened to an incident, as something to be said of the object nearest to it.
fn finding(change: &Change, cluster: &Cluster, places: &Places) -> Finding {
    let (Change::Opened(incident) | Change::Closed(incident)) = change;
    let Incident { component, fault, since, summary, .. } = incident;
    let (reason, message) = match change {
        Change::Opened(_) => (
            FindingReason::IncidentOpened,
            format!("{component} is {fault} since {}: {summary}", rfc3339::seconds(*since)),
        ),
        Change::Closed(_) => {
            let at = rfc3339::seconds(incident.closed_at.unwrap_or(incident.seen_at));
            let message = format!("{component} is whole again since {at}: it was {fault}");
            (FindingReason::IncidentClosed, message)
        }
    };
    let message: String = message.chars().filter(|it| !it.is_control()).take(LONGEST).collect();
    Finding { object: object(component, cluster, places), reason, message }
}

/// The object of the API that `component` is nearest to: a Node, a Service, its Namespace where it
/// is not known, or nothing that exists, and then it is told on the controller's own pod.
fn object(component: &str, cluster: &Cluster, places: &Places) -> ObjectRef {
    let parts: Vec<&str> = component.split('/').collect();
    let node = |name: &str| cluster.nodes.contains_key(name).then(|| of_node(name));
    let found = match parts[..] {
        ["coredns", ..] => Some(of_service(&places.coredns, cluster.coredns.uid.as_ref(), cluster)),
        ["istiod", ..] => Some(of_service(&places.istiod, cluster.istiod.uid.as_ref(), cluster)),
        // What agents are to each other, and no namespace of the cluster.
        ["workload" | "policy", "meshprobe", target] => target.strip_prefix("peer-").and_then(node),
        ["workload" | "policy", namespace, name] => {
            let mut services = cluster.services.iter();
            let service = services.find(|it| it.namespace == namespace && it.name == name);
            let uid = service.and_then(|it| it.uid.as_ref());
            Some(of_service(&(namespace.to_owned(), name.to_owned()), uid, cluster))
        }
        ["zone", zone, _] => {
            let mut nodes = cluster.nodes.iter();
            let first = nodes.find(|(_, node)| node.zone.as_deref() == Some(zone));
            first.map(|(name, _)| of_node(name))
        }
        [_, name, ..] => node(name),
        _ => None,
    };
    found.unwrap_or_else(|| ObjectRef::new("Cluster", "", component, None))
}

fn of_node(name: &str) -> ObjectRef {
    // The kubelet's own Events carry the name as uid; `kubectl describe node` looks for it.
    ObjectRef::new("Node", "", name, Some(name.to_owned()))
}

/// The Service of that namespace and name. An Event of an object whose uid is not known is not
/// shown with it: then it is told on the Namespace.
fn of_service(
    (namespace, name): &(String, String),
    uid: Option<&String>,
    cluster: &Cluster,
) -> ObjectRef {
    match uid {
        Some(uid) => ObjectRef::new("Service", namespace, name, Some(uid.clone())),
        None => {
            let uid = cluster.namespaces.get(namespace).and_then(|it| it.uid.clone());
            ObjectRef::new("Namespace", "", namespace, uid)
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::cluster;

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        let node = cluster::Node { zone: Some("a".to_owned()), ready: true };
        cluster.nodes.insert("node-2".to_owned(), node);
        let namespace = cluster::Namespace { uid: Some("u".to_owned()), ..Default::default() };
        cluster.namespaces.insert("default".to_owned(), namespace);
        cluster
    }

    fn places() -> Places {
        let place = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        Places {
            coredns: place("kube-system", "kube-dns"),
            istiod: place("istio-system", "istiod"),
        }
    }

    fn incident(confidence: f64) -> Incident {
        let at = datetime!(2026-01-01 00:00:00.5 UTC);
        Incident {
            id: 1,
            component: "ztunnel/node-2".to_owned(),
            fault: "dead".to_owned(),
            since: at,
            opened_at: at,
            seen_at: at,
            closed_at: None,
            confidence,
            summary: format!("its sockets\nrefuse, {confidence}"),
        }
    }

    #[test]
    fn incidents_are_told_on_the_object_that_an_operator_looks_at() {
        let cluster = cluster();
        let of = |component: &str| {
            let object = object(component, &cluster, &places());
            (object.kind, object.name, object.uid.is_some())
        };
        let told = |kind: &str, name: &str, uid| (kind.to_owned(), name.to_owned(), uid);
        for kind in ["ztunnel", "hbone", "capture", "node", "trust", "istiod-link"] {
            assert_eq!(of(&format!("{kind}/node-2")), told("Node", "node-2", true));
        }
        assert_eq!(of("agent/node-2/plain"), told("Node", "node-2", true));
        assert_eq!(of("zone/a/b"), told("Node", "node-2", true));
        assert_eq!(of("workload/meshprobe/peer-node-2"), told("Node", "node-2", true));
        assert_eq!(of("policy/default/web"), told("Namespace", "default", true));
        assert_eq!(of("coredns/coredns-a"), told("Namespace", "kube-system", false));
        assert_eq!(of("istiod"), told("Namespace", "istio-system", false));
    }

    #[test]
    fn incidents_of_services_that_are_known_are_told_on_them() {
        let mut cluster = cluster();
        cluster.coredns.uid = Some("c".to_owned());
        cluster.istiod.uid = Some("i".to_owned());
        cluster.services.push(cluster::Service {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: Some("w".to_owned()),
            ..cluster::Service::default()
        });
        for (component, namespace, name, uid) in [
            ("coredns/coredns-a", "kube-system", "kube-dns", "c"),
            ("coredns", "kube-system", "kube-dns", "c"),
            ("istiod", "istio-system", "istiod", "i"),
            ("workload/default/web", "default", "web", "w"),
            ("policy/default/web", "default", "web", "w"),
        ] {
            let told = object(component, &cluster, &places());
            assert_eq!(told, ObjectRef::new("Service", namespace, name, Some(uid.to_owned())));
        }
        let other = object("workload/default/api", &cluster, &places());
        assert_eq!((other.kind.as_str(), other.name.as_str()), ("Namespace", "default"));
    }

    #[test]
    fn what_has_no_object_of_its_own_is_told_on_the_controller() {
        for component in ["node/gone", "zone/c/d", "policy/meshprobe/peer", "moon"] {
            let object = object(component, &cluster(), &places());
            let told = (object.kind.as_str(), object.name.as_str(), object.uid);
            assert_eq!(told, ("Cluster", component, None));
        }
    }

    #[test]
    fn an_incident_is_one_line_when_it_opens_and_another_when_it_ends() {
        let told = |change| finding(&change, &cluster(), &places());
        let opened = told(Change::Opened(incident(1.0)));
        assert_eq!(
            opened.message,
            "ztunnel/node-2 is dead since 2026-01-01T00:00:00Z: its socketsrefuse, 1"
        );
        assert_eq!(opened.reason, FindingReason::IncidentOpened);
        let closed_at = Some(datetime!(2026-01-01 00:01:00 UTC));
        let closed = told(Change::Closed(Incident { closed_at, ..incident(1.0) }));
        assert_eq!(
            closed.message,
            "ztunnel/node-2 is whole again since 2026-01-01T00:01:00Z: it was dead"
        );
        assert_eq!(closed.reason, FindingReason::IncidentClosed);
    }

    #[test]
    fn an_incident_is_announced_as_it_was_when_it_opened_and_for_ten_minutes() {
        let announcements = Announcements::new(places());
        let start = datetime!(2026-01-01 00:00:00 UTC);
        let told = |changes: &[Change], seconds: i64| {
            let now = start + time::Duration::seconds(seconds);
            announcements.add(changes, &cluster(), now);
            announcements.told().borrow().clone()
        };
        let opened = told(&[Change::Opened(incident(0.9))], 0);
        assert_eq!(opened.len(), 1);
        assert_eq!(told(&[], 300), opened);
        let both = told(&[Change::Closed(incident(0.99))], 500);
        assert_eq!((both.len(), &both[0]), (2, &opened[0]));
        assert_eq!(told(&[], 601).len(), 1);
        assert_eq!(*told(&[], 1200), []);
        for second in 0..2 * MOST as i64 {
            told(&[Change::Opened(incident(0.9))], 2000 + second / 10);
        }
        assert_eq!(told(&[], 2100).len(), MOST);
    }
}

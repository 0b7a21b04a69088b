//! Incidents that opened or closed, told to the world: an Event on the object that stands for the
//! component, and metrics.
//!
//! Every replica counts what it sees; only the holder of the Lease writes Events.

use crate::cluster::{Cluster, Notice, ObjectRef};
use crate::config::ControllerConfig;
use crate::discovery::Name;
use crate::discovery::events::Notices;
use crate::incident::{Change, Incident};
use crate::metrics::ControllerMetrics;
use time::format_description::well_known::Rfc3339;

/// Namespace of what is meshprobe's own among components: no namespace of the cluster.
const OWN: &str = "meshprobe";

/// Tells of incidents.
#[derive(Debug)]
pub struct Announcer {
    /// `None` when no Events are written.
    notices: Option<Notices>,
    places: Places,
}

/// The Services that stand for parts of the control plane.
#[derive(Debug, Clone)]
struct Places {
    coredns: Name,
    istiod: Name,
}

impl Announcer {
    /// One of the controller that `config` describes; Events go to `notices`.
    pub fn new(config: &ControllerConfig, notices: Option<Notices>) -> Self {
        let (coredns, istio) = (&config.coredns, &config.istio);
        let places = Places {
            coredns: Name::new(&coredns.namespace, &coredns.name),
            istiod: Name::new(&istio.namespace, &istio.service),
        };
        Self { notices, places }
    }

    /// Tells of `changes`, all of them once, in the cluster as it is now.
    pub fn tell(&self, changes: &[Change], cluster: &Cluster, metrics: &ControllerMetrics) {
        for change in changes {
            match change {
                Change::Opened(incident) => {
                    metrics.diagnosis_opened(kind(&incident.component), &incident.fault);
                }
                Change::Closed(incident) => {
                    metrics.diagnosis_closed(kind(&incident.component), &incident.fault);
                }
            }
            if let Some(notices) = &self.notices {
                notices.hand_in(self.notice(change, cluster));
            }
        }
    }

    /// What is told of `change` as an Event.
    pub fn notice(&self, change: &Change, cluster: &Cluster) -> Notice {
        let (incident, bad) = match change {
            Change::Opened(incident) => (incident, true),
            Change::Closed(incident) => (incident, false),
        };
        Notice {
            object: self.places.object(&incident.component, cluster),
            reason: if bad { "IncidentOpened" } else { "IncidentClosed" },
            action: "Diagnose",
            note: note(incident),
            bad,
        }
    }
}

/// What stands before the first `/`.
fn kind(component: &str) -> &str {
    component.split('/').next().expect("split yields one part")
}

fn note(incident: &Incident) -> String {
    let at = |time: time::OffsetDateTime| {
        let seconds = time.replace_nanosecond(0).expect("0 is in range");
        seconds.format(&Rfc3339).unwrap_or_else(|_| "an unknown time".to_owned())
    };
    let Incident { component, fault, summary, .. } = incident;
    let since = at(incident.since);
    match incident.closed_at {
        Some(closed) => format!("{component} {fault}: over, {since} to {}", at(closed)),
        None => {
            let percent = (incident.confidence * 100.0).floor();
            format!("{component} {fault} since {since}, confidence {percent} %: {summary}")
        }
    }
}

impl Places {
    /// The object that stands for `component`; one without a kind of the API when there is none.
    fn object(&self, component: &str, cluster: &Cluster) -> ObjectRef {
        let parts: Vec<&str> = component.split('/').collect();
        let nobody = || reference(component, "", "", None);
        let node = |name: &str| match cluster.nodes.contains_key(name) {
            // As the kubelet does, and as kubectl looks for them: a node's name is its uid.
            true => reference("Node", "", name, Some(name.to_owned())),
            false => nobody(),
        };
        let service = |of: &Name| reference("Service", &of.namespace, &of.name, None);
        match parts[..] {
            ["ztunnel" | "hbone" | "capture" | "node" | "trust" | "istiod-link", name] => {
                node(name)
            }
            ["agent", name, _] => node(name),
            ["coredns", ..] => service(&self.coredns),
            ["istiod", ..] => service(&self.istiod),
            ["zone", zone, _] => {
                let mut nodes = cluster.nodes.iter();
                let first = nodes.find(|(_, node)| node.zone.as_deref() == Some(zone));
                first.map_or_else(nobody, |(name, _)| node(name))
            }
            ["workload" | "policy", OWN, target] => {
                target.strip_prefix("peer-").map_or_else(nobody, node)
            }
            ["workload" | "policy", namespace, name] => service(&Name::new(namespace, name)),
            _ => nobody(),
        }
    }
}

fn reference(kind: &str, namespace: &str, name: &str, uid: Option<String>) -> ObjectRef {
    ObjectRef { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned(), uid }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::cluster::Node;

    fn announcer() -> Announcer {
        Announcer::new(&ControllerConfig::default(), None)
    }

    fn cluster() -> Cluster {
        let node = |zone: &str| Node { zone: Some(zone.to_owned()), ready: true };
        let nodes = [("node-1", "a"), ("node-2", "b"), ("node-3", "b")];
        let nodes = nodes.map(|(name, zone)| (name.to_owned(), node(zone))).into();
        Cluster { nodes, ..Cluster::default() }
    }

    fn incident(component: &str) -> Incident {
        Incident {
            id: 1,
            component: component.to_owned(),
            fault: "dead".to_owned(),
            since: datetime!(2026-01-01 00:00:00.25 UTC),
            opened_at: datetime!(2026-01-01 00:00:10 UTC),
            seen_at: datetime!(2026-01-01 00:01:00 UTC),
            closed_at: None,
            confidence: 0.999,
            summary: "refused by every peer".to_owned(),
        }
    }

    #[test]
    fn each_component_has_an_object_to_be_told_on() {
        let object = |component: &str| {
            let object = announcer().places.object(component, &cluster());
            (object.kind, object.namespace, object.name)
        };
        let is = |kind: &str, namespace: &str, name: &str| {
            (kind.to_owned(), namespace.to_owned(), name.to_owned())
        };
        for kind in ["ztunnel", "hbone", "capture", "node", "trust", "istiod-link"] {
            assert_eq!(object(&format!("{kind}/node-2")), is("Node", "", "node-2"));
        }
        assert_eq!(object("agent/node-1/plain"), is("Node", "", "node-1"));
        assert_eq!(object("zone/b/a"), is("Node", "", "node-2"));
        for component in ["coredns", "coredns/coredns-abc"] {
            assert_eq!(object(component), is("Service", "kube-system", "kube-dns"));
        }
        for component in ["istiod", "istiod/istiod-abc"] {
            assert_eq!(object(component), is("Service", "istio-system", "istiod"));
        }
        for kind in ["workload", "policy"] {
            assert_eq!(object(&format!("{kind}/shop/cart")), is("Service", "shop", "cart"));
            assert_eq!(object(&format!("{kind}/meshprobe/peer-node-3")), is("Node", "", "node-3"));
        }
    }

    #[test]
    fn what_has_no_object_of_its_own_is_of_no_kind_of_the_api() {
        for component in ["node/gone", "zone/c/d", "policy/meshprobe/peer", "moon", "", "a/b/c/d"] {
            let object = announcer().places.object(component, &cluster());
            assert_eq!((object.kind.as_str(), object.uid), (component, None));
        }
    }

    #[test]
    fn an_incident_is_a_warning_and_its_end_is_not() {
        let open = incident("ztunnel/node-1");
        let over = Incident { closed_at: Some(open.seen_at), ..open.clone() };
        let opened = announcer().notice(&Change::Opened(open), &cluster());
        assert_eq!((opened.reason, opened.bad), ("IncidentOpened", true));
        assert_eq!(
            opened.note,
            "ztunnel/node-1 dead since 2026-01-01T00:00:00Z, confidence 99 %: refused by every peer"
        );
        let closed = announcer().notice(&Change::Closed(over), &cluster());
        assert_eq!((closed.reason, closed.bad), ("IncidentClosed", false));
        assert_eq!(
            closed.note,
            "ztunnel/node-1 dead: over, 2026-01-01T00:00:00Z to 2026-01-01T00:01:00Z"
        );
    }

    #[test]
    fn open_incidents_are_counted_by_kind_and_fault() {
        let metrics = ControllerMetrics::new();
        let told = |changes: &[Change]| {
            announcer().tell(changes, &cluster(), &metrics);
            metrics.exposition().collect::<String>()
        };
        let opened = ["ztunnel/node-1", "ztunnel/node-2"].map(|it| Change::Opened(incident(it)));
        let active = r#"meshprobe_diagnosis_active{component_kind="ztunnel",fault="dead"}"#;
        assert!(told(&[]).contains("meshprobe_diagnosis_opened_total 0\n"));
        assert!(told(&opened).contains(&format!("{active} 2\n")));
        let page = told(&[Change::Closed(incident("ztunnel/node-1"))]);
        assert!(page.contains(&format!("{active} 1\n")), "{page}");
        assert!(page.contains("meshprobe_diagnosis_opened_total 2\n"));
        assert!(page.contains("meshprobe_diagnosis_closed_total 1\n"));
    }
}

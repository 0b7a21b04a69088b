//! From what the watches know to a [`Cluster`]. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::cluster::{
    Agent, Cluster, Endpoint, Finding, FindingReason, Labels, NamespacePods, ObjectRef, Pod,
    Service, Webhook,
};
use crate::discovery::choose::{Chosen, ChosenPort, choose};
use crate::discovery::endpoints;
use crate::discovery::enrolment::{self, GATEWAY_NAME, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE};
use crate::discovery::labels;
use crate::discovery::reduce::{PodSeen, Slice};
use crate::discovery::seen::Seen;
use crate::discovery::settings::Settings;
use crate::discovery::text::finding;
use crate::discovery::watched::{Standing, Watched};
use crate::target::Vantage;

/// Label of agents' pods: `ambient` or `plain`.
pub const VANTAGE: &str = "meshprobe.dev/vantage";

/// The most pods of one waypoint that are kept.
const MOST_WAYPOINT_PODS: usize = 16;

/// A cluster, and the namespaces whose pods must be watched to know it.
#[derive(Debug)]
pub struct Assembled {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespaces of chosen Services.
    pub namespaces: BTreeSet<String>,
}

/// Puts together what is known. Services of a namespace that was never listed are left out
/// until it is.
pub fn assemble(seen: &Seen, settings: &Settings) -> Assembled {
    let Chosen { ports, mut namespaces, mut findings } = choose(seen, settings);
    labels::unknown(seen, settings, &namespaces, &mut findings);
    // Whose pods must be known as well.
    let waypoints: BTreeSet<String> =
        ports.iter().filter_map(|port| waypoint(seen, port)).map(|(place, _)| place).collect();
    let room = settings.limits.namespaces.saturating_sub(namespaces.len());
    namespaces.extend(waypoints.difference(&namespaces.clone()).take(room).cloned());
    // The gate asks for them, whatever else is called.
    namespaces.extend(settings.pods_of.iter().cloned());
    let services = services(seen, settings, ports, &mut findings);
    let peer_authentications = peer_authentications(seen, &mut findings);
    forbidden(seen, settings, &mut findings);
    let cluster = Cluster {
        nodes: by_name(&seen.nodes),
        namespaces: by_name(&seen.namespaces),
        agents: agents(seen, settings),
        services,
        coredns: endpoints::control_plane(&seen.coredns, 53),
        istiod: endpoints::control_plane(&seen.istiod, 15012),
        ztunnels: ztunnels(seen),
        controllers: endpoints::controllers(&seen.controllers),
        daemon_sets: by_name(&seen.daemon_sets),
        pods: pods(seen),
        webhooks: webhooks(seen),
        peer_authentications,
        findings: bounded(findings, settings.limits.findings),
    };
    Assembled { cluster, namespaces }
}

fn by_name<T: Clone + PartialEq>(watched: &Watched<T>) -> BTreeMap<String, T> {
    watched.objects().iter().map(|((_, name), is)| (name.clone(), is.clone())).collect()
}

/// A pod with what its namespace's labels decide.
fn placed(seen: &Seen, pod: &PodSeen) -> Pod {
    let nothing = Labels::new();
    let namespace = seen.namespaces.find("", &pod.pod.namespace);
    let namespace = namespace.map_or(&nothing, |namespace| &namespace.labels);
    let own = pod.pod.labels.get(USE_WAYPOINT).map(String::as_str);
    Pod {
        wanted: enrolment::wanted(&pod.pod.labels, namespace, pod.excluded),
        waypoint: enrolment::waypoint(own, namespace),
        ..pod.pod.clone()
    }
}

fn agents(seen: &Seen, settings: &Settings) -> Vec<Agent> {
    let all = seen.agents.iter().flat_map(|(namespace, watched)| {
        watched.objects().values().map(move |pod| (namespace, pod))
    });
    all.map(|(namespace, pod)| {
        let told = pod.pod.labels.get(VANTAGE).and_then(|label| label.parse().ok());
        let place = if *namespace == settings.ambient_namespace {
            Vantage::Ambient
        } else {
            Vantage::Plain
        };
        Agent { pod: placed(seen, pod), vantage: told.unwrap_or(place) }
    })
    .collect()
}

fn services(
    seen: &Seen,
    settings: &Settings,
    ports: Vec<ChosenPort>,
    findings: &mut Vec<Finding>,
) -> Vec<Service> {
    let mut slices: BTreeMap<(&str, &str), Vec<&Slice>> = BTreeMap::new();
    for (namespace, watched) in &seen.slices {
        for slice in watched.objects().values() {
            slices.entry((namespace, &slice.service)).or_default().push(slice);
        }
    }
    let mut services = Vec::new();
    for chosen in ports {
        let (namespace, name) = (chosen.object.namespace.clone(), chosen.object.name.clone());
        let Some(pods) = known(&seen.pods, &namespace) else { continue };
        let Some(listed) = known(&seen.slices, &namespace) else { continue };
        let none = Vec::new();
        let slices = slices.get(&(namespace.as_str(), name.as_str())).unwrap_or(&none);
        let found = endpoints::behind(slices, &chosen.port.name);
        if found.is_empty() && listed.health.standing == Standing::Listed {
            findings.push(endpoints::nothing_behind(&chosen));
        }
        let found = found.into_iter().filter_map(|(pod, target_port)| {
            let pod = placed(seen, pods.find(&namespace, &pod)?);
            Some(Endpoint { pod, target_port })
        });
        let endpoints =
            endpoints::spread(found.collect(), settings.limits.endpoints, &chosen, findings);
        let waypoint = waypoint(seen, &chosen);
        let pods = waypoint.as_ref().map(|(place, name)| waypoint_pods(seen, place, name));
        services.push(Service {
            cluster_ip: chosen.cluster_ip,
            port: chosen.port.number,
            path: chosen.path,
            endpoints,
            waypoint: waypoint.map(|(_, name)| name),
            waypoint_pods: pods.unwrap_or_default(),
            uid: chosen.object.uid,
            namespace,
            name,
        });
    }
    services.sort_by(|one, other| {
        (&one.namespace, &one.name, one.port).cmp(&(&other.namespace, &other.name, other.port))
    });
    services
}

/// Namespace and name of the waypoint of a Service.
fn waypoint(seen: &Seen, chosen: &ChosenPort) -> Option<(String, String)> {
    let nothing = Labels::new();
    let own = &chosen.object.namespace;
    let labels = seen.namespaces.find("", own).map_or(&nothing, |namespace| &namespace.labels);
    let name = enrolment::waypoint(chosen.waypoint.as_deref(), labels)?;
    // The two labels are a pair: those of one object.
    let place = match &chosen.waypoint {
        Some(_) => chosen.waypoint_namespace.as_ref(),
        None => labels.get(USE_WAYPOINT_NAMESPACE),
    };
    Some((place.unwrap_or(own).clone(), name))
}

/// The ready pods of waypoint `name`, a few of them.
fn waypoint_pods(seen: &Seen, namespace: &str, name: &str) -> Vec<Pod> {
    let watched = seen.pods.get(namespace).into_iter();
    let pods = watched.flat_map(|watched| watched.objects().values());
    let of_it = |pod: &&PodSeen| {
        pod.pod.ready && pod.pod.labels.get(GATEWAY_NAME).is_some_and(|is| is == name)
    };
    pods.filter(of_it).take(MOST_WAYPOINT_PODS).map(|pod| placed(seen, pod)).collect()
}

/// What is known of a namespace, once it was listed or it is settled that it may not be.
fn known<'a, T: PartialEq>(
    all: &'a BTreeMap<String, Watched<T>>,
    namespace: &str,
) -> Option<&'a Watched<T>> {
    all.get(namespace).filter(|watched| watched.health.standing != Standing::Waiting)
}

fn ztunnels(seen: &Seen) -> BTreeMap<String, IpAddr> {
    // While one replaces the other, the ready one is meant.
    let mut pods: Vec<&Pod> = seen.ztunnels.objects().values().map(|pod| &pod.pod).collect();
    pods.sort_by_key(|pod| pod.ready);
    pods.into_iter().map(|pod| (pod.node.clone(), pod.ip)).collect()
}

/// The pods of each namespace that was listed.
fn pods(seen: &Seen) -> BTreeMap<String, NamespacePods> {
    let listed = seen.pods.iter().filter(|(_, is)| is.health.standing == Standing::Listed);
    let counted = listed.map(|(namespace, watched)| {
        let mut pods = NamespacePods::default();
        for pod in watched.objects().values() {
            pods.add(&placed(seen, pod), pod.host_network);
        }
        (namespace.clone(), pods)
    });
    counted.collect()
}

/// Both kinds of webhooks, when both were listed.
fn webhooks(seen: &Seen) -> Option<Vec<Webhook>> {
    let both = [&seen.validating, &seen.mutating];
    if both.iter().any(|it| it.health.standing != Standing::Listed) {
        return None;
    }
    let all = both.into_iter().flat_map(|watched| watched.objects().values().flatten().cloned());
    let all: BTreeSet<Webhook> = all.collect();
    Some(all.into_iter().collect())
}

fn peer_authentications(
    seen: &Seen,
    findings: &mut Vec<Finding>,
) -> Option<Vec<crate::cluster::mtls::PeerAuthentication>> {
    let watched = &seen.peer_authentications;
    if watched.health.standing != Standing::Listed {
        return None;
    }
    let mut good = Vec::new();
    for object in watched.objects().values() {
        match object {
            Ok(object) => good.push(object.clone()),
            Err(finding) => findings.push((**finding).clone()),
        }
    }
    Some(good)
}

fn forbidden(seen: &Seen, settings: &Settings, findings: &mut Vec<Finding>) {
    let all = seen.healths(settings).into_iter();
    for (name, ..) in all.filter(|(_, health, _)| health.standing == Standing::Forbidden) {
        let (place, namespace) = match &name.namespace {
            Some(namespace) => (format!("namespace {namespace}"), namespace.as_str()),
            None => ("the whole cluster".to_owned(), ""),
        };
        let message = format!(
            "the controller may not list and watch {} in {place}: grant the verbs list and watch to its ServiceAccount",
            name.resource
        );
        let object = ObjectRef::new(name.resource, namespace, "", None);
        findings.push(finding(object, FindingReason::Forbidden, &message));
    }
}

/// In the order of the objects, each once, at most `limit` and a word on the others.
fn bounded(mut findings: Vec<Finding>, limit: usize) -> Vec<Finding> {
    findings.sort();
    findings.dedup();
    if findings.len() > limit {
        let more = findings.len() - limit;
        findings.truncate(limit);
        let message = format!("{more} more findings are not told: mend these first");
        findings.push(finding(ObjectRef::new("", "", "", None), FindingReason::TooMany, &message));
    }
    findings
}

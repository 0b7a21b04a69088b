//! Which ports of which Services are called, and what stands in the way of a wish. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::cluster::{Finding, FindingReason, ObjectRef};
use crate::discovery::seen::Seen;
use crate::discovery::service::{Asked, PATH, PROBE, Port, ServiceSeen};
use crate::discovery::settings::{Choice, Name, PortRef, Selection, Settings};
use crate::discovery::text::{finding, quoted};
use crate::discovery::watched::Standing;

/// What is called.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Ports, those that were named before those that were found.
    pub(super) ports: Vec<ChosenPort>,
    /// The namespaces of these.
    pub(super) namespaces: BTreeSet<String>,
    /// What stands in the way of the others.
    pub(super) findings: Vec<Finding>,
}

/// A port that is called.
#[derive(Debug)]
pub(super) struct ChosenPort {
    /// The Service, as the object of a finding.
    pub(super) object: ObjectRef,
    /// `None` for a headless one.
    pub(super) cluster_ip: Option<IpAddr>,
    /// The Service is of type ExternalName.
    pub(super) external: bool,
    /// The port.
    pub(super) port: Port,
    /// What is requested.
    pub(super) path: String,
    /// The Service's own waypoint label.
    pub(super) waypoint: Option<String>,
    /// And the one that says where the waypoint is.
    pub(super) waypoint_namespace: Option<String>,
    rank: Rank,
}

/// Whose wish it is; the first goes before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Named,
    Annotated,
    Labelled,
    OfNamespace,
}

/// Somebody's wish that a Service be called.
struct Claim<'a> {
    rank: Rank,
    origin: &'a str,
    ports: &'a [PortRef],
    path: Option<&'a str>,
}

/// Chooses from everything seen. A Service whose annotation says `false` is left alone.
pub(super) fn choose(seen: &Seen, settings: &Settings) -> Chosen {
    let mut chosen = Chosen::default();
    absent(seen, settings, &mut chosen.findings);
    let services = seen.services.values().flat_map(|watched| watched.objects());
    for ((namespace, name), service) in services {
        let object = ObjectRef::new("Service", namespace, name, service.uid.clone());
        for mistake in &service.mistakes {
            let message = format!("Service {namespace}/{name}: {mistake}");
            chosen.findings.push(finding(object.clone(), FindingReason::BadAnnotation, &message));
        }
        let claims = claims(service, &settings.services);
        let ports = claimed(&object, service, &claims, &mut chosen.findings);
        chosen.ports.extend(ports);
    }
    bound(&mut chosen, settings);
    chosen
}

/// Tells of named Services that do not exist.
fn absent(seen: &Seen, settings: &Settings, findings: &mut Vec<Finding>) {
    for selection in &settings.services {
        let Choice::Service(Name { namespace, name }) = &selection.choice else { continue };
        let scope = seen.services.get(&Some(namespace.clone())).or(seen.services.get(&None));
        let known = scope.filter(|watched| watched.health.standing == Standing::Listed);
        if known.is_some_and(|watched| watched.find(namespace, name).is_none()) {
            let message = format!(
                "{}: there is no Service {}: correct namespace and name, or take the entry out",
                selection.origin,
                quoted(&format!("{namespace}/{name}")),
            );
            let object = ObjectRef::new("Service", namespace, name, None);
            findings.push(finding(object, FindingReason::ServiceNotFound, &message));
        }
    }
}

fn claims<'a>(service: &'a ServiceSeen, selections: &'a [Selection]) -> Vec<Claim<'a>> {
    let selected = service.selected.iter().filter_map(|at| selections.get(*at));
    let mut claims: Vec<Claim<'a>> = selected
        .map(|selection| Claim {
            rank: match selection.choice {
                Choice::Service(_) => Rank::Named,
                Choice::Labels { .. } => Rank::Labelled,
                Choice::Namespace(_) => Rank::OfNamespace,
            },
            origin: &selection.origin,
            ports: &selection.ports,
            path: selection.path.as_deref(),
        })
        .collect();
    let annotated = |ports| Claim {
        rank: Rank::Annotated,
        origin: "its annotation",
        ports,
        path: service.path.as_deref(),
    };
    match &service.asked {
        Asked::Nothing => {}
        Asked::Never => return Vec::new(),
        Asked::Every => claims.push(annotated(&[])),
        Asked::Ports(ports) => claims.push(annotated(ports)),
    }
    claims.sort_by_key(|claim| claim.rank);
    claims
}

/// The ports that the claims come to; who comes first is heard.
fn claimed(
    object: &ObjectRef,
    service: &ServiceSeen,
    claims: &[Claim<'_>],
    findings: &mut Vec<Finding>,
) -> Vec<ChosenPort> {
    let mut taken: BTreeMap<u16, (ChosenPort, &Claim<'_>)> = BTreeMap::new();
    for claim in claims {
        for port in resolve(object, service, claim, findings) {
            if let Some((first, holder)) = taken.get(&port.number) {
                if contradicts(holder, claim) {
                    findings.push(conflict(object, first, holder, claim));
                }
                continue;
            }
            let path = claim.path.or(service.path.as_deref()).unwrap_or("/").to_owned();
            let chosen = ChosenPort {
                object: object.clone(),
                cluster_ip: service.cluster_ip,
                external: service.external,
                port: port.clone(),
                path,
                waypoint: service.waypoint.clone(),
                waypoint_namespace: service.waypoint_namespace.clone(),
                rank: claim.rank,
            };
            taken.insert(port.number, (chosen, claim));
        }
    }
    taken.into_values().map(|(port, _)| port).collect()
}

/// Two entries that name one port, or two wishes for different paths.
fn contradicts(first: &Claim<'_>, second: &Claim<'_>) -> bool {
    let both_named = first.rank == Rank::Named && second.rank == Rank::Named;
    let paths = first.path.zip(second.path);
    both_named || paths.is_some_and(|(one, other)| one != other)
}

fn conflict(
    object: &ObjectRef,
    first: &ChosenPort,
    holder: &Claim<'_>,
    claim: &Claim<'_>,
) -> Finding {
    let message = format!(
        "Service {}/{}, port {}: claimed by {} and by {}; the first is heard (path {}): take one out",
        object.namespace,
        object.name,
        first.port.number,
        holder.origin,
        claim.origin,
        quoted(&first.path),
    );
    finding(object.clone(), FindingReason::Conflict, &message)
}

/// The ports that a claim means. What was named and is not there is told.
fn resolve<'a>(
    object: &ObjectRef,
    service: &'a ServiceSeen,
    claim: &Claim<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<&'a Port> {
    let (namespace, name) = (&object.namespace, &object.name);
    let tcp = || service.ports.iter().filter(|port| port.tcp);
    if claim.ports.is_empty() {
        let all: Vec<&Port> = tcp().collect();
        if all.is_empty() && claim.rank <= Rank::Annotated {
            let message = format!(
                "Service {namespace}/{name}: {} asks for it, but it has no TCP port: only TCP is called",
                claim.origin
            );
            findings.push(finding(object.clone(), FindingReason::PortNotFound, &message));
        }
        return all;
    }
    let mut found = Vec::new();
    for wanted in claim.ports {
        let is = |port: &&Port| match wanted {
            PortRef::Number(number) => port.number == *number,
            PortRef::Name(name) => port.name == *name,
        };
        if let Some(port) = tcp().find(is) {
            found.push(port);
            continue;
        }
        let shown = match wanted {
            PortRef::Number(number) => number.to_string(),
            PortRef::Name(name) => quoted(name),
        };
        let why = if service.ports.iter().any(|port| is(&port)) {
            "is not TCP: only TCP is called".to_owned()
        } else {
            format!("does not exist: the Service has {}", port_list(&service.ports))
        };
        let message =
            format!("Service {namespace}/{name}: {} names port {shown}, which {why}", claim.origin);
        findings.push(finding(object.clone(), FindingReason::PortNotFound, &message));
    }
    found
}

fn port_list(ports: &[Port]) -> String {
    let shown = ports.iter().take(10).map(|port| match port.name.as_str() {
        "" => port.number.to_string(),
        name => format!("{} ({name})", port.number),
    });
    let list = shown.collect::<Vec<_>>().join(", ");
    if list.is_empty() { "no port".to_owned() } else { list }
}

/// Keeps to the limits: who was named stays before who was found.
fn bound(chosen: &mut Chosen, settings: &Settings) {
    chosen.ports.sort_by(|one, other| {
        let order = |port: &ChosenPort| (port.rank, port.port.number);
        (one.rank, &one.object)
            .cmp(&(other.rank, &other.object))
            .then(order(one).cmp(&order(other)))
    });
    let limits = &settings.limits;
    let mut dropped: Option<(ObjectRef, usize)> = None;
    let (mut namespaces, mut count) = (BTreeSet::new(), 0);
    chosen.ports.retain(|port| {
        let namespace = &port.object.namespace;
        let room = namespaces.contains(namespace) || namespaces.len() < limits.namespaces;
        if count < limits.services && room {
            count += 1;
            namespaces.insert(namespace.clone());
            return true;
        }
        let (_, number) = dropped.get_or_insert_with(|| (port.object.clone(), 0));
        *number += 1;
        false
    });
    chosen.namespaces = namespaces;
    if let Some((object, number)) = dropped {
        let message = format!(
            "{number} ports of Services are left out, the first of them of {}/{}: at most {} ports in {} \
             namespaces are called; choose fewer by {PROBE} (and {PATH}) or configuration, or raise the limit",
            object.namespace, object.name, limits.services, limits.namespaces,
        );
        chosen.findings.push(finding(object, FindingReason::TooMany, &message));
    }
}

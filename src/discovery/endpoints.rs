//! What is behind a Service: EndpointSlices, joined. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::cluster::{ControlPlane, Endpoint, Finding, FindingReason};
use crate::discovery::choose::ChosenPort;
use crate::discovery::reduce::Slice;
use crate::discovery::seen::Front;
use crate::discovery::text::finding;
use crate::discovery::watched::Watched;

/// The ready pods behind a Service's port, each once, with the port that they listen on.
pub(super) fn behind(slices: &[&Slice], port: &str) -> BTreeMap<String, u16> {
    let mut found = BTreeMap::new();
    for slice in slices {
        let Some((_, number)) = slice.ports.iter().find(|(name, _)| name == port) else { continue };
        let pods = slice.ready.iter().filter(|(pod, _)| !pod.is_empty());
        found.extend(pods.map(|(pod, _)| (pod.clone(), *number)));
    }
    found
}

/// Tells that nothing ready is behind a port.
pub(super) fn nothing_behind(chosen: &ChosenPort) -> Finding {
    let why = if chosen.external {
        "it is of type ExternalName; name a Service of the cluster"
    } else {
        "check its selector, its target port and whether its pods are ready"
    };
    let message = format!(
        "Service {}/{}, port {}: no ready pod is behind it: {why}",
        chosen.object.namespace, chosen.object.name, chosen.port.number,
    );
    finding(chosen.object.clone(), FindingReason::NoEndpoints, &message)
}

/// At most `limit` endpoints, of as many nodes as possible, and the same ones while they live.
pub(super) fn spread(
    mut endpoints: Vec<Endpoint>,
    limit: usize,
    chosen: &ChosenPort,
    findings: &mut Vec<Finding>,
) -> Vec<Endpoint> {
    if endpoints.len() <= limit {
        return endpoints;
    }
    let message = format!(
        "Service {}/{}, port {}: {} endpoints are ready, {limit} of them are called: raise the limit to call more",
        chosen.object.namespace,
        chosen.object.name,
        chosen.port.number,
        endpoints.len(),
    );
    findings.push(finding(chosen.object.clone(), FindingReason::TooMany, &message));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut turns: Vec<(usize, Endpoint)> = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints.drain(..) {
        let turn = seen.entry(endpoint.pod.node.clone()).or_default();
        turns.push((*turn, endpoint));
        *turn += 1;
    }
    // Stable: within a turn they stay in the order of their names.
    turns.sort_by_key(|(turn, _)| *turn);
    turns.truncate(limit);
    let mut kept: Vec<Endpoint> = turns.into_iter().map(|(_, endpoint)| endpoint).collect();
    kept.sort_by(|one, other| one.pod.name.cmp(&other.pod.name));
    kept
}

/// A Service of the control plane at its `port`, and its ready replicas.
pub(super) fn control_plane(front: &Front, port: u16) -> ControlPlane {
    let service = front.service.objects().values().next();
    let slices: Vec<&Slice> = front.slices.objects().values().collect();
    // Behind the Service's port; without a Service, what has that number itself.
    let names: Vec<&str> = service.map_or_else(Vec::new, |service| {
        let ports = service.ports.iter().filter(|is| is.number == port);
        ports.map(|port| port.name.as_str()).collect()
    });
    let mut replicas: BTreeMap<String, SocketAddr> = BTreeMap::new();
    for slice in slices {
        let target = slice.ports.iter().find(|(name, number)| {
            if service.is_some() { names.contains(&name.as_str()) } else { *number == port }
        });
        let Some((_, number)) = target else { continue };
        for (pod, address) in &slice.ready {
            let name = if pod.is_empty() { address.to_string() } else { pod.clone() };
            let address = SocketAddr::new(*address, *number);
            // Of a pod with two families the first one told, IPv4 before IPv6.
            replicas.entry(name).and_modify(|is| *is = (*is).min(address)).or_insert(address);
        }
    }
    ControlPlane {
        service: service
            .filter(|_| !names.is_empty())
            .and_then(|service| service.cluster_ip)
            .map(|address| SocketAddr::new(address, port)),
        replicas,
        uid: service.and_then(|service| service.uid.clone()),
    }
}

/// Where the controllers listen.
pub(super) fn controllers(watched: &Watched<Slice>) -> Vec<SocketAddr> {
    let all = watched.objects().values().flat_map(|slice| {
        let port = slice.ports.first().map(|(_, number)| *number);
        slice.ready.iter().filter_map(move |(_, ip)| Some(SocketAddr::new(*ip, port?)))
    });
    all.collect::<BTreeSet<_>>().into_iter().collect()
}
